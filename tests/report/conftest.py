"""A finished run with everything that the report reads."""

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks.tiny_data import volume_facts
from spine_models.data.crops.mask_facts import Flag, FlagCode, MaskFacts
from spine_models.evaluation.evaluate import EvaluationSettings, evaluate
from spine_models.levels import LEVELS
from spine_models.provenance.files import write_json
from spine_models.provenance.keys import Key
from spine_models.provenance.manifest import write_manifest
from spine_models.provenance.records import write_array, write_record
from spine_models.report.contents import ReportInputs
from tests.evaluation.conftest import STUDIES, write_inputs
from tests.vouching import published

HOSTILE = '<script>alert("x")</script>&"\''


@pytest.fixture(scope="session")
def volumes(tmp_path_factory) -> tuple[Path, Path]:
    """Manifests of half-size volumes and masks of every study."""
    return _volumes(tmp_path_factory.mktemp("volumes"))


@pytest.fixture
def run(volumes, tmp_path) -> ReportInputs:
    """A run of phantoms; texts that come from outside hold markup."""
    return write_run(tmp_path, volumes)


def write_run(tmp_path: Path, volumes: tuple[Path, Path]) -> ReportInputs:
    inputs = write_inputs(tmp_path)
    write_json(tmp_path / "metrics.json", evaluate(inputs, EvaluationSettings(seed=1), "code"))
    published(tmp_path / "metrics.json")
    with inputs.quarantine.open("a", newline="") as stream:
        csv.writer(stream).writerow([HOSTILE, "index", "no_ct", HOSTILE])
    published(inputs.quarantine)
    histories = [*_histories(inputs.averaging, "competition_loss"), *_histories(inputs.segmentation, "dice_mean")]
    bundle = {"digest": "d" * 64, "segmentation": [{}], "classification": [{}, {}], "settings": {"note": HOSTILE}}
    write_json(tmp_path / "bundle" / "bundle.json", bundle)
    published(tmp_path / "bundle" / "bundle.json")
    half, masks = volumes
    return ReportInputs(
        metrics=tmp_path / "metrics.json",
        quarantine=inputs.quarantine,
        histories=histories,
        oof=inputs.oof,
        train_csv=inputs.train_csv,
        bundle=tmp_path / "bundle" / "bundle.json",
        half=[half],
        masks=[masks],
        output_dir=tmp_path,
    )


def _histories(beside: list[Path], metric: str) -> list[Path]:
    written = []
    for path in beside:
        history = path.with_name("history.csv")
        rows = [f"{epoch},{epoch * 10},0.001,{1 / (epoch + 1)},{0.5 + epoch / 20}" for epoch in range(5)]
        history.write_text("\n".join([f"epoch,step,learning_rate,loss,{metric}", *rows]) + "\n")
        written.append(published(history))
    return written


def _volumes(folder: Path) -> tuple[Path, Path]:
    random = np.random.default_rng(0)
    digests: dict[str, dict[str, str]] = {"half": {}, "masks": {}}
    for study in STUDIES:
        volume = random.integers(-200, 900, (20, 32, 32)).astype(np.int16)
        mask = np.zeros(volume.shape, np.uint8)
        for value in range(1, 8):
            mask[2 * value : 2 * value + 2, 10:20, 10:20] = value
        facts = volume_facts(shape=(20, 64, 64), spacing_mm=(2.0, 1.0, 1.0))
        flags = (Flag(FlagCode.GAP, "C3", HOSTILE),) if study == STUDIES[0] else ()
        levels = MaskFacts(dict.fromkeys(LEVELS, "visible"), {}, {}, flags)
        for stage, array, kept in (("half", volume, facts), ("masks", mask, levels)):
            base = folder / stage / "0"
            files = {f"{study}.npy": write_array(base / f"{study}.npy", array)}
            key = Key(stage, {}, {}, "code")
            digests[stage][study] = write_record(base / f"{study}.json", key, files, kept.to_json()).digest
    for stage, studies in digests.items():
        write_manifest(folder / stage / "0.json", studies, {})
    return folder / "half" / "0.json", folder / "masks" / "0.json"
