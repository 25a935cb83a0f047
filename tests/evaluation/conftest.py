"""A finished run's files, small enough to check by hand, and predictions that know something."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spine_models.evaluation.averages import Averaging
from spine_models.evaluation.evaluate import EvaluationInputs
from spine_models.evaluation.segmentation_figures import PublishedFigures
from spine_models.evaluation.tables import OOF_COLUMNS, STUDY
from spine_models.levels import LEVELS, TARGETS
from spine_models.provenance.files import write_json
from tests.vouching import published

STUDIES = [f"1.2.826.0.1.{index}" for index in range(24)]


def labels(seed: int = 1) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    levels = (random.random((len(STUDIES), 7)) < 0.15).astype(int)
    return pd.DataFrame(np.column_stack([levels.max(axis=1), levels]), index=STUDIES, columns=list(TARGETS))


def oof_table(truth: pd.DataFrame, variant: str, fold: int, seed: int, strength: float = 0.5) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    noise = 0.1 * random.standard_normal(truth.shape)
    table = pd.DataFrame(np.clip(0.2 + strength * truth + noise, 0.01, 0.99), columns=list(TARGETS))
    table.insert(0, STUDY, truth.index)
    table = table.assign(variant=variant, fold=fold, levels_visible=7, source="crops")
    return table[list(OOF_COLUMNS)]


def _grade(position: int) -> str:
    return "obvious" if position % 2 else "subtle"


@pytest.fixture
def inputs(tmp_path: Path) -> EvaluationInputs:
    return write_inputs(tmp_path)


def write_inputs(tmp_path: Path) -> EvaluationInputs:
    truth = labels()
    truth.rename_axis(STUDY).to_csv(tmp_path / "train.csv")
    folds = pd.DataFrame({STUDY: STUDIES, "group": STUDIES, "fold": [index % 4 for index in range(len(STUDIES))]})
    folds.to_csv(tmp_path / "folds.csv", index=False)
    published(tmp_path / "folds.csv")
    oof, averaging = [], []
    # ir was trained on folds 0 and 1, ip on fold 0: half of the studies have no prediction.
    for variant, fold in (("ir", 0), ("ir", 1), ("ip", 0)):
        folder = tmp_path / "classification" / variant / f"fold{fold}"
        folder.mkdir(parents=True)
        table = oof_table(truth.iloc[fold::4], variant, fold, seed=fold + 10 * (variant == "ip"))
        table.to_csv(folder / "oof.csv", index=False, float_format="%.6f")
        write_json(
            folder / "averaging.json",
            Averaging(0.4, 0.39, epochs=(), greedy=None, published="averaged").to_json(),
        )
        oof.append(published(folder / "oof.csv"))
        averaging.append(published(folder / "averaging.json"))
    segmentation = []
    for fold in range(2):
        path = tmp_path / "segmentation" / f"fold{fold}" / "metrics.json"
        path.parent.mkdir(parents=True)
        per_study = {STUDIES[fold]: {"C1": 0.5 + 0.3 * fold, "C2": 0.7}}
        write_json(path, PublishedFigures(0.0, {}, 1, per_study, epoch=0).to_json())
        segmentation.append(published(path))
    quarantine = pd.DataFrame({"study": ["9.1", "9.2"], "stage": "index", "code": "no_images", "reason": ["a", "b"]})
    quarantine.to_csv(tmp_path / "quarantine.csv", index=False)
    published(tmp_path / "quarantine.csv")
    grades = [
        {STUDY: study, "level": level, "grade": _grade(position) if truth.loc[study, level] else None}
        for position, study in enumerate(STUDIES)
        for level in LEVELS
    ]
    pd.DataFrame(grades).to_csv(tmp_path / "phantom.csv", index=False)
    return EvaluationInputs(
        train_csv=tmp_path / "train.csv",
        folds=tmp_path / "folds.csv",
        oof=oof,
        segmentation=segmentation,
        averaging=averaging,
        quarantine=tmp_path / "quarantine.csv",
        grades=tmp_path / "phantom.csv",
    )
