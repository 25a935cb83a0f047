"""Checkpoints of the published solution's own trained networks, as networks of this pipeline.

What a file holds is told by the names and shapes of its tensors, never by the file's name (method, published
checkpoints). The encoder's names are mmaction2's own and stay. A module outside the encoder is told by its shapes,
which differ between all blocks of the published decoder; names only say which convolutions make up a block.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from spine_models.errors import UserError
from spine_models.models.checkpoint_files import differences, read_checkpoint
from spine_models.models.network import Network
from spine_models.models.networks import KIND, build

State = Mapping[str, torch.Tensor]

_ENCODER = "backbone."
_DISTRIBUTED = "module."
_DEPTHS = {6: 50, 23: 101, 36: 152}
"""Blocks of the encoder's third layer to its depth."""
_AXIAL_KERNEL = (3, 1, 1)
_PARAMETERS = ("weight", "bias")


def read_solution_checkpoint(path: Path) -> Network:
    """Read a checkpoint of the published solution into the network that it is of, strictly.

    Args:
        path: a file of any name: of a training (with ``module.`` before each name or not) or of averaged weights.

    Returns:
        A segmentation network with the full last block, or a classifier; on the CPU and in evaluation mode.

    Raises:
        UserError: if the file cannot be read safely, is of no such network, or a tensor is missing, foreign, of
            another shape or not finite.
    """
    state = _without_wrapper(path, read_checkpoint(path))
    encoder = {name: value for name, value in state.items() if name.startswith(_ENCODER)}
    rest = {name: value for name, value in state.items() if name not in encoder}
    mode, depth, width = _encoder(path, encoder)
    settings: dict[str, Any] = {KIND: "csn", "mode": mode, "depth": depth, "base_channels": width}
    if any(name.startswith("decoder.") for name in rest):
        settings = {KIND: "csn_unet", "depth": depth, "base_channels": width, **_decoder(path, rest, mode)}
    # Without memory at first: the weights come from the file, and the random state stays as it is.
    with torch.device("meta"):
        model = build(settings)
    own = model.state_dict()
    names = _names(path, rest, {name: value for name, value in own.items() if not name.startswith(_ENCODER)})
    renamed = encoder | {name: rest[foreign] for name, foreign in names.items()}
    problems = differences(renamed, own)
    problems += [f"{name} is not finite" for name, value in state.items() if not bool(torch.isfinite(value).all())]
    if problems:
        raise _unfit(path, f"{problems[0]} ({len(problems)} such tensors)")
    # Averaged files hold counts as floating-point numbers.
    model.load_state_dict({name: renamed[name].to(value.dtype) for name, value in own.items()}, assign=True)
    return model.eval()


def _without_wrapper(path: Path, state: State) -> dict[str, torch.Tensor]:
    bare = {name.removeprefix(_DISTRIBUTED): value for name, value in state.items()}
    if len(bare) != len(state):
        raise _unfit(path, f"it holds tensors both with and without the prefix {_DISTRIBUTED}")
    return bare


def _encoder(path: Path, encoder: State) -> tuple[str, int, int]:
    """Return mode, depth and stem channels."""
    blocks = {match[1] for name in encoder if (match := re.match(r"backbone\.layer3\.(\d+)\.", name))}
    stem = encoder.get("backbone.conv1.conv.weight")
    if stem is None or stem.ndim != 5 or len(blocks) not in _DEPTHS:
        raise _unfit(path, f"it has no encoder of a known depth (blocks in backbone.layer3: {len(blocks)})")
    mode = "ip" if any(".conv2.1." in name for name in encoder) else "ir"
    return mode, _DEPTHS[len(blocks)], stem.shape[0]


def _decoder(path: Path, rest: State, mode: str) -> dict[str, Any]:
    """Return the settings of a segmentation network's decoder."""
    axial = {value.shape[0] for value in rest.values() if value.shape[2:] == _AXIAL_KERNEL}
    last = [value.shape[1] for value in rest.values() if value.shape[2:] == (1, 1, 1)]
    if mode != "ir" or len(axial) != 4 or len(last) != 1:
        raise _unfit(path, "its decoder is not that of the published segmentation network")
    return {"decoder_channels": [*sorted(axial, reverse=True), *last], "last_block": "full"}


def _names(path: Path, foreign: State, own: State) -> dict[str, str]:
    """Return which tensor of the file each of ours outside the encoder is.

    Raises:
        UserError: if a block fits none of ours, or one of ours has none or several.
    """
    ours = _blocks(own, lambda module: module.rpartition(".")[0] or module)
    theirs = _blocks(foreign, _block_of)
    names: dict[str, str] = {}
    for block, modules in theirs.items():
        fitting = [own_block for own_block, own_modules in ours.items() if own_modules.keys() == modules.keys()]
        if len(fitting) != 1:
            raise _unfit(path, f"{block} is not a block of this network, or not the whole of one")
        for shape, module in ours.pop(fitting[0]).items():
            for parameter in _PARAMETERS:
                names[f"{module}.{parameter}"] = f"{modules[shape]}.{parameter}"
    if ours:
        raise _unfit(path, f"nothing in it fits our {next(iter(ours))} ({len(ours)} such blocks)")
    missing = [name for name in names.values() if name not in foreign]
    extra = [name for name in foreign if name not in set(names.values())]
    for problem in (*(f"{name} is missing" for name in missing), *(f"{name} is not expected" for name in extra)):
        raise _unfit(path, problem)
    return names


def _blocks(state: State, block_of: Callable[[str], str]) -> dict[str, dict[torch.Size, str]]:
    """Return the modules of each block by the shapes of their weights."""
    blocks: dict[str, dict[torch.Size, str]] = {}
    for name, value in state.items():
        module, _, parameter = name.rpartition(".")
        if parameter == "weight":
            blocks.setdefault(block_of(module), {})[value.shape] = module
    return blocks


def _block_of(module: str) -> str:
    """Return a module's name up to the first part with a number, which counts the blocks; all of it without one."""
    match = re.match(r"(?:[^.\d]+\.)*[^.]*\d[^.]*", module)
    return match[0] if match else module


def _unfit(path: Path, problem: str) -> UserError:
    return UserError(
        f"{path} is not a checkpoint of the published solution: {problem}; remove it from the folder, or copy it again"
    )
