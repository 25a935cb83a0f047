"""Tiny networks and a bundle of them."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from spine_models.data.phantom.dataset import generate_dataset
from spine_models.data.phantom.settings import PhantomSettings
from spine_models.evaluation.tables import STUDY
from spine_models.inference.bundle import ExportSettings, export_bundle
from spine_models.levels import TARGETS
from spine_models.models.classifier import ClassifierSettings, CsnClassifier
from spine_models.models.unet import CsnUNet, UNetSettings
from spine_models.models.weights import save_model

SETTINGS = ExportSettings(
    z_step=2,
    half_size=64,
    crops={"margin": 8, "depth": 8, "size": 32, "min_voxels": 16, "visible_fraction": 0.3},
    plausibility={"min_component_fraction": 0.1, "fallback": "neighbours"},
    inference={"window": 32, "overlap": 8, "z_multiple": 32, "batch": 1},
    phantom=True,
)


@pytest.fixture(scope="session")
def networks(tmp_path_factory) -> dict[str, list[Path]]:
    """One segmentation network and an ir and an ip classifier."""
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    unet = CsnUNet(UNetSettings(base_channels=8, decoder_channels=(16, 8, 8, 8, 8)))
    # An untrained network calls everything background; this one has to show levels.
    torch.nn.init.zeros_(unet.head.bias)
    torch.nn.init.normal_(unet.head.weight)
    save_model(folder / "unet.safetensors", unet, {"seed": 0})
    paths = []
    for variant in ("ir", "ip"):
        model = CsnClassifier(ClassifierSettings(variant, depth=50, base_channels=8))
        # An untrained head says nearly the same of every crop; what is compared here has to differ.
        torch.nn.init.normal_(model.head.weight, std=0.2)
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, torch.nn.BatchNorm3d):
                    module.running_mean.normal_(0, 0.1)
                    module.running_var.uniform_(0.5, 2.0)
                    module.weight.uniform_(0.5, 1.5)
        paths.append(folder / f"{variant}.safetensors")
        save_model(paths[-1], model, {"seed": 0, "variant": variant})
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
def bundle_folder(tmp_path, networks, train_csv) -> Path:
    """A bundle of its own for each test, since some damage it."""
    out = tmp_path / "bundle" / "bundle.json"
    export_bundle(out, networks["segmentation"], networks["classification"], train_csv, SETTINGS, code="code")
    return out.parent


@pytest.fixture(scope="session")
def phantom(tmp_path_factory) -> Path:
    """Two small test studies as DICOM files, and ``test.csv``."""
    out = tmp_path_factory.mktemp("data") / "phantom"
    settings = PhantomSettings(studies=1, segmented=0, test_studies=2, defective=0, matrix=64, slice_mm=2.5)
    generate_dataset(out, settings, seed=3)
    return out
