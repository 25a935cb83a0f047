"""A bundle with damaged files: one sentence, or the bundle and the networks that were exported."""

from __future__ import annotations

import json
import random
import tempfile
from functools import cache
from pathlib import Path

import torch

from spine_models.errors import UserError
from spine_models.inference.bundle import Bundle, load_bundle
from spine_models.inference.bundle_description import DESCRIPTION
from spine_models.inference.export_bundle import ExportInputs, ExportSettings, export_bundle
from spine_models.levels import TARGETS
from spine_models.models.classifier import ClassifierSettings, CsnClassifier
from spine_models.models.unet import CsnUNet, UNetSettings
from spine_models.models.weights import save_model
from spine_models.provenance.canonical import digest_bytes, digest_json
from tests.fuzz.mutations import damage_bytes
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


@cache
def files() -> dict[str, bytes]:
    """Files of a bundle with one narrow segmentation network and one narrow classifier."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        networks = {
            "unet": CsnUNet(UNetSettings(base_channels=8, decoder_channels=(8, 8, 8, 8, 8))),
            "ir": CsnClassifier(ClassifierSettings("ir", depth=50, base_channels=8)),
        }
        for key, network in networks.items():
            save_model(folder / f"{key}.safetensors", network, {"seed": 0})
        table = folder / "train.csv"
        table.write_text(f"StudyInstanceUID,{','.join(TARGETS)}\n1.2.1,1,0,1,0,0,0,0,0\n1.2.2,0,0,0,0,0,0,0,0\n")
        out = folder / "bundle" / DESCRIPTION
        networks = [published(folder / f"{name}.safetensors") for name in ("unet", "ir")]
        export_bundle(ExportInputs(networks[:1], networks[1:], table), SETTINGS, code="", out=out)
        return {path.name: path.read_bytes() for path in out.parent.iterdir()}


@cache
def originals() -> dict[str, torch.Tensor]:
    """All weights of the undamaged bundle."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, data in files().items():
            (folder / file).write_bytes(data)
        return _weights(load_bundle(folder))


def _weights(bundle: Bundle) -> dict[str, torch.Tensor]:
    networks = [*bundle.load_segmentation(), *bundle.load_classifiers()]
    return {f"{i}.{key}": value for i, network in enumerate(networks) for key, value in network.state_dict().items()}


def run_case(rng: random.Random) -> str:
    """Damage one file of a bundle; sometimes with checksums that fit again, as a careful forger's."""
    damaged = dict(files())
    victim = rng.choice(sorted(damaged))
    damaged[victim] = damage_bytes(rng, damaged[victim])
    forged = victim != DESCRIPTION and rng.random() < 0.5
    if forged:
        damaged[DESCRIPTION] = _forged(damaged[DESCRIPTION], victim, damaged[victim])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, data in damaged.items():
            (folder / file).write_bytes(data)
        try:
            bundle = load_bundle(folder)
            weights = _weights(bundle)
        except UserError as error:
            assert "\n" not in str(error)
            return "refused: bundle"
    if not forged:
        expected = originals()
        assert weights.keys() == expected.keys()
        assert all(torch.equal(value, expected[key]) for key, value in weights.items())
    return "equal"


def _forged(description: bytes, victim: str, data: bytes) -> bytes:
    content = json.loads(description)
    for entry in (*content["segmentation"], *content["classification"]):
        if entry["file"] == victim:
            entry |= {"bytes": len(data), "sha256": digest_bytes(data)}
    content["digest"] = digest_json({key: value for key, value in content.items() if key != "digest"})
    return json.dumps(content).encode()
