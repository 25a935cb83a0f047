"""A bundle with damaged files: one sentence, or the bundle and the networks that were exported."""

from __future__ import annotations

import json
import math
import random
import re
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from spine_models.errors import UserError
from spine_models.inference.bundle import Bundle, load_bundle
from spine_models.inference.bundle_description import DESCRIPTION
from spine_models.inference.bundle_networks import load_classifiers, load_segmentation
from spine_models.inference.export_bundle import ExportInputs, ExportSettings, export_bundle
from spine_models.levels import TARGETS
from spine_models.models.classifier import ClassifierSettings, CsnClassifier
from spine_models.models.unet import CsnUNet, UNetSettings
from spine_models.models.weights import load_state, save_model, save_state
from spine_models.provenance.canonical import digest_bytes, digest_json
from spine_models.provenance.packed import write_archive
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
    networks = [*load_segmentation(bundle), *load_classifiers(bundle)]
    return {f"{i}.{key}": value for i, network in enumerate(networks) for key, value in network.state_dict().items()}


def run_case(rng: random.Random) -> str:
    """Damage a bundle in one of six ways, and load all of it."""
    cases = (_bytes_case, _archive_case, _settings_case, _settings_case, _description_case, _weights_case)
    return rng.choice(cases)(rng)


def _loaded(changed: Mapping[str, bytes]) -> tuple[Bundle, dict[str, torch.Tensor]] | None:
    """Return the bundle and all its weights, or None after one sentence."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, data in (files() | changed).items():
            (folder / file).write_bytes(data)
        return _all_of(folder)


def _all_of(path: Path) -> tuple[Bundle, dict[str, torch.Tensor]] | None:
    try:
        bundle = load_bundle(path)
        return bundle, _weights(bundle)
    except UserError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 1000
        return None


@cache
def _archive() -> bytes:
    """The undamaged bundle as one file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, data in files().items():
            (folder / file).write_bytes(data)
        write_archive(folder / "all.zip", {file: folder / file for file in files()})
        return (folder / "all.zip").read_bytes()


def _archive_case(rng: random.Random) -> str:
    """Damage a bundle in one file: bytes anywhere, or in the list of its files at the end and their headers."""
    data = bytearray(_archive())
    if rng.random() < 0.4:
        data = bytearray(damage_bytes(rng, bytes(data)))
    else:
        begins = [found.start() for found in re.finditer(rb"PK\x01\x02|PK\x03\x04|PK\x05\x06", data)]
        for _ in range(rng.randint(1, 3)):
            data[min(rng.choice(begins) + rng.randrange(46), len(data) - 1)] = rng.choice((0, 1, 8, 0x7F, 0xFF))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "bundle.zip"
        path.write_bytes(data)
        found = _all_of(path)
    if found is None:
        return "refused: bundle"
    assert found[1].keys() == originals().keys()
    assert all(torch.equal(value, originals()[key]) for key, value in found[1].items())
    return "equal"


def _bytes_case(rng: random.Random) -> str:
    """Damage the bytes of one file; sometimes with checksums that fit again, as a careful forger's."""
    victim = rng.choice(sorted(files()))
    changed = {victim: damage_bytes(rng, files()[victim])}
    forged = victim != DESCRIPTION and rng.random() < 0.5
    if forged:
        changed[DESCRIPTION] = _described(changed)
    found = _loaded(changed)
    if found is None:
        return "refused: bundle"
    _, weights = found
    if forged:
        assert all(torch.isfinite(value).all() for value in weights.values())
    else:
        assert weights.keys() == originals().keys()
        assert all(torch.equal(value, originals()[key]) for key, value in weights.items())
    return "equal"


def _described(changed: Mapping[str, bytes], **values: Any) -> bytes:
    """Return the description with ``values`` in it, the checksums of changed files, and one of its own."""
    content = json.loads(files()[DESCRIPTION]) | values
    groups = [content[name] for name in ("segmentation", "classification") if isinstance(content[name], list)]
    groups.append([content.get("card")])
    for entry in (entry for group in groups for entry in group):
        if isinstance(entry, dict) and entry.get("file") in list(changed):
            data = changed[entry["file"]]
            entry |= {"bytes": len(data), "sha256": digest_bytes(data)}
    content["digest"] = _digest({key: value for key, value in content.items() if key != "digest"})
    return json.dumps(content).encode()


def _digest(content: Any) -> str:
    """Return a description's checksum; JSON has none for what is not a number, but a forger may write it."""
    try:
        return digest_json(content)
    except ValueError:
        return "0" * 64


def _whole(low: int, high: int, step: int = 1) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high and value % step == 0


def _share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


HONEST: dict[str, Callable[[Any], bool]] = {
    "z_step": _whole(1, 64),
    "half_size": _whole(32, 2048, 32),
    "hu_limits": lambda value: value is None or value == [-1024, 3071],
    "crops.margin": _whole(0, 2048),
    "crops.depth": _whole(8, 1024),
    "crops.size": _whole(32, 2048),
    "crops.min_voxels": _whole(0, (1 << 32) - 1),
    "crops.visible_fraction": _share,
    "crops.clamp_start": lambda value: type(value) is bool,
    "crops.z_fill": lambda value: value in ("air", "mean"),
    "plausibility.min_component_fraction": _share,
    "plausibility.fallback": lambda value: value in ("neighbours", "none"),
    "plausibility.stray_mm": lambda value: value is None or (type(value) in (int, float) and 0 <= value <= 100000),
    "inference.window": lambda value: _whole(32, 4096, 32)(value) and value > 8,
    "inference.overlap": _whole(0, 31),
    "inference.z_multiple": lambda value: _whole(8, 32, 8)(value) and 32 % value == 0,
    "inference.batch": _whole(1, 256),
    "inference.flips": lambda value: value in (["none"], ["horizontal"], ["none", "horizontal"]),
    "crop_inference.flips": lambda value: value in (["none"], ["horizontal"], ["none", "horizontal"]),
    "clip": lambda value: value in ("models", "mean"),
    "unknown": lambda value: False,
    "crops.unknown": lambda value: False,
}
"""Key of the settings to whether a value makes sense beside the others of ``SETTINGS``, said without the schema."""
VALUES: tuple[Any, ...] = (
    *(-3, -1, 0, 1, 2, 3, 7, 8, 16, 31, 32, 33, 64, 256, 2048, 4096, 1 << 20, 1 << 40, 1 << 70, 10**30),
    *(1.9, 2.0, 0.5, -0.1, 1.1, 1e308, 1e-308, float("nan"), float("inf")),
    *(None, True, False, "", "2", "air", "none", "mean", "neighbours", "models", "\0", "\x1b[2J", "x" * 100_000),
    *([], [1], ["none"], ["none", "none"], ["horizontal"], [-1024, 3071], [3071, -1024], [0, 0], {}, {"a": 1}),
)


def _settings_case(rng: random.Random) -> str:
    """Put one value in the place of another; only one that makes sense may be read, and as it was written."""
    key, value = rng.choice(sorted(HONEST)), rng.choice(VALUES)
    settings = json.loads(files()[DESCRIPTION])["settings"]
    *groups, last = key.split(".")
    place = settings
    for group in groups:
        place = place[group]
    if rng.random() < 0.1:
        place.pop(last, None)
        younger = ("hu_limits", "clip", "crops.clamp_start", "crops.z_fill", "plausibility.stray_mm", "unknown")
        honest = key in (*younger, "crops.unknown", "inference.flips", "crop_inference.flips")
        # A section of crops' inference without its one key is an empty section.
    else:
        place[last] = value
        honest = HONEST[key](value)
    found = _loaded({DESCRIPTION: _described({}, settings=settings)})
    assert (found is not None) == honest, f"{key} = {str(value)[:40]!r} was {'refused' if honest else 'accepted'}"
    if found is None:
        return "refused: bundle"
    assert found[0].settings == settings
    return "equal"


def _description_case(rng: random.Random) -> str:
    """Put an absurd value in the place of another one of the description."""
    content = json.loads(files()[DESCRIPTION])
    key = rng.choice(
        ("prior", "phantom", "segmentation", "classification", "provenance", "levels", "targets", "schema")
    )
    value = rng.choice(VALUES)
    fitting: dict[str, tuple[type, ...]] = {"phantom": (bool,), "provenance": (dict,)}
    if key == "prior" and rng.random() < 0.7:
        value = content["prior"] | {rng.choice(TARGETS): value}
        honest = all(_share(item) for item in value.values())
    elif key in ("segmentation", "classification") and rng.random() < 0.7:
        value = [content[key][0] | {rng.choice(("file", "bytes", "sha256", "name")): value}]
        # Only another name is as good.
        honest = value[0] | {"name": ""} == content[key][0] | {"name": ""} and _is_name(value[0]["name"])
    else:
        same = (key, value) in (("classification", []), ("schema", 1), ("schema", 2))
        honest = type(value) in fitting.get(key, ()) or (same and type(value) is not bool and type(value) is not float)
    found = _loaded({DESCRIPTION: _described({}, **{key: value})})
    assert (found is not None) == honest, f"{key} = {str(value)[:80]!r} was {'refused' if honest else 'accepted'}"
    return "refused: bundle" if found is None else "equal"


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 100 and value.isprintable()


def _weights_case(rng: random.Random) -> str:
    """Change the numbers, types and shapes of weights, and what their file says of the network; checksums fit."""
    victim = rng.choice([name for name in sorted(files()) if name.endswith(".safetensors")])
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / victim
        path.write_bytes(files()[victim])
        state, description = load_state(path)
        tensor = rng.choice(sorted(state))
        value, key = rng.choice(VALUES), ""
        match rng.randrange(5):
            case 0:
                tensor = rng.choice([name for name in sorted(state) if state[name].is_floating_point()])
                state[tensor] = state[tensor].clone().fill_(rng.choice((float("nan"), float("inf"), float("-inf"))))
            case 1:
                others = [kind for kind in (torch.float16, torch.float64, torch.int32) if kind != state[tensor].dtype]
                state[tensor] = state[tensor].to(rng.choice(others))
            case 2:
                state[tensor] = rng.choice((state[tensor][None], torch.zeros(0), torch.zeros(3, 3, 3)))
            case 3:
                state[f"{tensor}.more"] = torch.zeros(2)
            case _:
                key = rng.choice((*description["settings"], "more"))
                original = description["settings"].get(key)
                description["settings"] |= {key: value}
                if original == value and type(original) is type(value):
                    return "equal"
        if not _can_be_written(value):
            return "equal"
        save_state(path, state, description)
        changed = {victim: path.read_bytes()}
    found = _loaded(changed | {DESCRIPTION: _described(changed)})
    if found is None:
        return "refused: bundle"
    # What no tensor shows may be another value that makes sense: the dropout, or epsilon of batch norm.
    assert key in ("dropout", "batch_norm_eps"), f"{tensor} or {key} = {value!r} was accepted"
    assert 0 <= float(value) <= 1
    assert all(torch.equal(tensor, originals()[name]) for name, tensor in found[1].items())
    return "equal"


def _can_be_written(value: Any) -> bool:
    return not (isinstance(value, float) and not math.isfinite(value))
