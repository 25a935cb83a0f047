"""Out-of-fold predictions of stored crops."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import default_collate

from spine_models.compute.crop_predictor import CropInferenceSettings
from spine_models.compute.network_input import classifier_input
from spine_models.data.crops.crop import CropSettings, SpineCrop, validation_windows
from spine_models.data.crops.crop_facts import NoCropFacts
from spine_models.data.crops.files import crop_facts, open_crop
from spine_models.data.dataset.study_tokens import TRAINING_STUDIES, study_tokens
from spine_models.errors import UserError
from spine_models.evaluation.tables import OOF_COLUMNS, STUDY
from spine_models.inference.oof import OofInputs, OofSettings, predict_oof
from spine_models.levels import LEVELS, TARGETS
from spine_models.models.weights import load_model, save_model
from spine_models.provenance.keys import Key
from spine_models.provenance.manifest import write_manifest
from spine_models.provenance.records import read_record, write_array, write_record
from spine_models.provenance.shelf import Shelf
from tests.gpu_troubles import out_of_memory, overflowing
from tests.inference.conftest import SETTINGS as BUNDLE
from tests.vouching import published

STUDIES = ["1.2.1", "1.2.2", "1.2.3"]
CROPS = CropSettings(**BUNDLE.crops)
SETTINGS = OofSettings(CROPS, CropInferenceSettings(), math_threads=1, device="cpu")


def _crop(seed: int) -> SpineCrop:
    random = np.random.default_rng(seed)
    mask = np.zeros((24, 24, 24), np.uint8)
    mask[2:8, 8:16, 8:16] = 1
    # Taller than a window of 8 slices: two windows.
    mask[10:22, 8:16, 8:16] = 2
    return SpineCrop(
        image=random.integers(-200, 800, (24, 48, 48)).astype(np.int16),
        mask=mask,
        origin=(0, 0, 0),
        mask_origin=(0, 0, 0),
        half_factor=0.5,
        mean=100.0,
        std=300.0,
        raw_zero_hu=-1024.0,
        boxes={"C1": (2, 8, 8, 16, 8, 16), "C2": (10, 22, 8, 16, 8, 16), "C3": (16, 22, 8, 16, 8, 16)},
        voxels={"C1": 384, "C2": 768},
        levels=dict.fromkeys(LEVELS, "missing") | {"C1": "visible", "C2": "visible", "C3": "interpolated"},
        spacing_mm=(1.0, 0.5, 0.5),
    )


@pytest.fixture
def inputs(tmp_path, networks, train_csv) -> OofInputs:
    """Three studies; 1.2.3 shows no vertebra. Folds: 0 holds 1.2.1 and 1.2.3, 1 holds 1.2.2."""
    folder = tmp_path / "crops" / "0"
    digests = {}
    for seed, study in enumerate(STUDIES):
        crop = _crop(seed)
        facts: NoCropFacts = crop_facts(crop)
        files = {}
        if study == "1.2.3":
            facts = NoCropFacts({}, {}, dict.fromkeys(LEVELS, "missing"))
        else:
            files[f"{study}.npy"] = write_array(folder / f"{study}.npy", crop.image)
            files[f"{study}_mask.npy"] = write_array(folder / f"{study}_mask.npy", crop.mask)
        digests[study] = write_record(
            folder / f"{study}.json", Key("make_crops", {}, {}, "code"), files, facts.to_json()
        ).digest
    write_manifest(tmp_path / "crops" / "0.json", digests, {})
    folds = pd.DataFrame({STUDY: STUDIES, "group": STUDIES, "fold": [0, 1, 0]})
    folds.to_csv(tmp_path / "folds.csv", index=False)
    published(tmp_path / "folds.csv")
    return OofInputs(networks["classification"][0], tmp_path / "folds.csv", train_csv, [tmp_path / "crops" / "0.json"])


def _predict(inputs, out, fold=0, variant="ir", code="code"):
    predict_oof(inputs, variant, fold, SETTINGS, gpus=0, code=code, out=out)
    return pd.read_csv(out, dtype={STUDY: str}).set_index(STUDY)


@pytest.mark.usefixtures("in_float32")
def test_only_the_fold_is_predicted_and_by_the_maximum_over_all_windows(inputs, tmp_path):
    table = _predict(inputs, tmp_path / "oof.csv")
    assert list(table.index) == ["1.2.1", "1.2.3"]
    assert list(table.reset_index().columns) == list(OOF_COLUMNS)
    windows = [window for _, window in validation_windows(open_crop(Shelf(inputs.crops), "1.2.1"), CROPS)]
    assert len(windows) == 4, "one of C1, two of C2, one of the interpolated C3"
    model, _ = load_model(inputs.model, "classification")
    with torch.inference_mode():
        plain = torch.sigmoid(model(classifier_input(*default_collate(windows)))).numpy()
    expected = np.clip(plain.max(axis=0), 0.01, 0.99)
    np.testing.assert_allclose(table.loc["1.2.1", list(TARGETS)].astype(float), expected, atol=1e-5)
    assert table.loc["1.2.1", "source"] == "crops"
    assert table.loc["1.2.1", "levels_visible"] == 2


def test_a_study_without_vertebra_gets_the_prior_of_the_other_folds(inputs, tmp_path):
    table = _predict(inputs, tmp_path / "oof.csv")
    # Outside fold 0 there is 1.2.2 alone, without a fracture: nothing but the clipped zero.
    assert (table.loc["1.2.3", list(TARGETS)].astype(float) == 0.01).all()
    assert table.loc["1.2.3", "source"] == "prior"
    assert table.loc["1.2.3", "levels_visible"] == 0


def test_same_bytes_and_finished_studies_are_found_again(inputs, tmp_path):
    out = tmp_path / "oof.csv"
    _predict(inputs, out)
    first = out.read_bytes()
    path = tmp_path / "oof" / "1.2.1.json"
    record = read_record(path)
    out.unlink()
    _predict(inputs, out)
    assert out.read_bytes() == first
    # The stored result is used: a mark in it shows up. Another code makes it anew.
    record.facts["probabilities"][0] = 0.123
    write_record(path, record.key, record.files, record.facts)
    assert _predict(inputs, out).loc["1.2.1", "patient_overall"] == 0.123
    _predict(inputs, out, code="other")
    assert out.read_bytes() == first


def test_flips_of_the_configuration_are_another_prediction(inputs, tmp_path):
    tables = []
    for flips in (("none",), ("none", "horizontal"), ("horizontal", "none")):
        settings = dataclasses.replace(SETTINGS, inference=CropInferenceSettings(flips))
        predict_oof(inputs, "ir", 0, settings, gpus=0, code="", out=tmp_path / "oof.csv")
        tables.append(pd.read_csv(tmp_path / "oof.csv")[list(TARGETS)].to_numpy())
    assert np.abs(tables[1] - tables[0]).max() > 1e-5
    np.testing.assert_allclose(tables[2], tables[1], atol=1e-6)


def test_a_model_that_learnt_from_a_study_of_the_fold_is_refused(inputs, tmp_path):
    model, provenance = load_model(inputs.model, "classification")
    for name, studies in (("honest", ["1.2.2"]), ("leaky", ["1.2.2", "1.2.1"])):
        save_model(tmp_path / name, model, provenance | {TRAINING_STUDIES: study_tokens(studies)})
        published(tmp_path / name)
    honest, leaky = (dataclasses.replace(inputs, model=tmp_path / name) for name in ("honest", "leaky"))
    assert len(_predict(honest, tmp_path / "oof.csv")) == 2
    with pytest.raises(UserError, match=r"learnt from study 1\.2\.1, which its fold holds out"):
        _predict(leaky, tmp_path / "oof.csv")


def test_a_model_of_another_variant_is_refused(inputs, tmp_path):
    with pytest.raises(UserError, match="no classifier of the variant ip"):
        _predict(inputs, tmp_path / "oof.csv", variant="ip")


@pytest.mark.usefixtures("in_float32")
def test_a_study_says_that_half_precision_overflowed_and_is_float32s(inputs, tmp_path, monkeypatch):
    expected = _predict(inputs, tmp_path / "oof.csv")
    assert read_record(tmp_path / "oof" / "1.2.1.json").facts["overflowed"] is False
    overflowing(monkeypatch)
    pd.testing.assert_frame_equal(_predict(inputs, tmp_path / "oof.csv", code="other"), expected)
    assert read_record(tmp_path / "oof" / "1.2.1.json").facts["overflowed"] is True


@pytest.mark.parametrize("where", ["__init__", "logits"])
def test_memory_that_runs_out_is_a_sentence(inputs, tmp_path, monkeypatch, where):
    out_of_memory(monkeypatch, where)
    with pytest.raises(UserError, match=r"^out of GPU memory: set device: cpu"):
        _predict(inputs, tmp_path / "oof.csv")
