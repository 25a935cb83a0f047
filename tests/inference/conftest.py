"""Tiny networks and a bundle of them."""

from pathlib import Path

import pandas as pd
import pytest

from spine_models.compute import precision
from spine_models.data.phantom.dataset import generate_dataset
from spine_models.data.phantom.settings import PhantomSettings
from spine_models.evaluation.tables import STUDY
from spine_models.inference.export_bundle import ExportInputs, ExportSettings, export_bundle
from spine_models.levels import TARGETS
from spine_models.models.weights import save_model
from tests import tiny
from tests.vouching import published

SETTINGS = ExportSettings(
    z_step=2,
    half_size=64,
    hu_limits=(-1024, 3071),
    crops={"margin": 8, "depth": 8, "size": 32, "min_voxels": 16, "visible_fraction": 0.3},
    plausibility={"min_component_fraction": 0.1, "fallback": "neighbours"},
    inference={"window": 32, "overlap": 8, "z_multiple": 32, "batch": 1, "flips": ["none"]},
    crop_inference={"flips": ["none"]},
    phantom=True,
)


@pytest.fixture(scope="session")
def networks(tmp_path_factory) -> dict[str, list[Path]]:
    """One segmentation network and an ir and an ip classifier."""
    folder = tmp_path_factory.mktemp("networks")
    save_model(folder / "unet.safetensors", tiny.segmentation_network(), {"seed": 0})
    paths = [folder / f"{variant}.safetensors" for variant in ("ir", "ip")]
    for seed, path in enumerate(paths):
        save_model(path, tiny.classifier(path.stem, seed), {"seed": seed, "variant": path.stem})
    for path in (folder / "unet.safetensors", *paths):
        published(path)
    return {"segmentation": [folder / "unet.safetensors"], "classification": paths}


@pytest.fixture(scope="session")
def train_csv(tmp_path_factory) -> Path:
    """Targets of three studies, one with a fracture of C2."""
    rows = [[1, 0, 1, 0, 0, 0, 0, 0], [0] * 8, [0] * 8]
    table = pd.DataFrame(rows, columns=list(TARGETS), index=["1.2.1", "1.2.2", "1.2.3"]).rename_axis(STUDY)
    path = tmp_path_factory.mktemp("tables") / "train.csv"
    table.to_csv(path)
    return path


@pytest.fixture
def in_float32(monkeypatch) -> None:
    """Let classifiers compute in float32 on CPUs that could do it in bf16, too."""
    monkeypatch.setattr(precision, "cpu_computes_in_bf16", lambda: False)


@pytest.fixture
def bundle_folder(tmp_path, networks, train_csv) -> Path:
    """A bundle of its own for each test, since some damage it."""
    out = tmp_path / "bundle" / "bundle.json"
    export_bundle(ExportInputs(**networks, train_csv=train_csv), SETTINGS, code="code", out=out)
    return out.parent


@pytest.fixture(scope="session")
def phantom(tmp_path_factory) -> Path:
    """Two small test studies as DICOM files, and ``test.csv``."""
    out = tmp_path_factory.mktemp("data") / "phantom"
    settings = PhantomSettings(studies=1, segmented=0, test_studies=2, defective=0, matrix=64, slice_mm=2.5)
    generate_dataset(out, settings, seed=3)
    return out
