"""Published weights brought into an encoder, strictly."""

from __future__ import annotations

import codecs
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from spine_models.errors import UserError

_BACKBONE = "backbone."
_HEAD = "cls_head."
_BATCH_COUNT = ".num_batches_tracked"


@dataclass(frozen=True)
class PretrainedReport:
    """What became of the tensors of a checkpoint; names are the encoder's, or the checkpoint's where not expected.

    Attributes:
        loaded: tensors that were copied.
        unexpected: tensors of the published head, which no network here has.
        missing: batch counts that older checkpoints lack; they start at 0 and nothing reads them.
    """

    loaded: tuple[str, ...]
    unexpected: tuple[str, ...]
    missing: tuple[str, ...]

    def sentence(self) -> str:
        """Return the report for a log, with the names of what was left out."""
        listed = {"not expected": self.unexpected, "missing": self.missing}
        rest = [f"{words}: {', '.join(names) or 'nothing'}" for words, names in listed.items()]
        return f"{len(self.loaded)} tensors of the published weights loaded; {'; '.join(rest)}"


def load_pretrained(backbone: nn.Module, path: Path) -> PretrainedReport:
    """Copy the encoder's weights out of a checkpoint of mmaction2 (keys ``backbone.`` and ``cls_head.``).

    Args:
        backbone: of the same mode, depth and width as the checkpoint's.
        path: the ``.pth`` file; read with ``weights_only=True``.

    Raises:
        UserError: if the file cannot be read safely, or anything but the head is left over, missing or of another
            shape.
    """
    published = read_checkpoint(path)
    state = {name.removeprefix(_BACKBONE): value for name, value in published.items() if name.startswith(_BACKBONE)}
    unexpected = tuple(name for name in published if not name.startswith(_BACKBONE))
    own = backbone.state_dict()
    missing = tuple(name for name in own if name not in state)
    problems = [f"{name} is missing" for name in missing if not name.endswith(_BATCH_COUNT)]
    problems += [f"{name} is not expected" for name in unexpected if not name.startswith(_HEAD)]
    problems += [f"{_BACKBONE}{name} is not expected" for name in state if name not in own]
    problems += [
        f"{name} has the shape {tuple(state[name].shape)}, not {tuple(value.shape)}"
        for name, value in own.items()
        if name in state and state[name].shape != value.shape
    ]
    if problems:
        raise UserError(
            f"{path} does not hold the weights of this encoder: {problems[0]} ({len(problems)} such tensors, "
            f"{len(state)} in the file); set `pretrained` to the checkpoint of this network, or to none"
        )
    backbone.load_state_dict({name: state.get(name, torch.zeros_like(value)) for name, value in own.items()})
    return PretrainedReport(tuple(name for name in own if name in state), unexpected, missing)


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Return the state dict of a checkpoint written by mmengine or mmcv, or of a bare one.

    Beside the state dict such files hold a description of the training. Plain values and numpy numbers in it are
    read; a file with objects of any other kind is refused, because to read it means to run its code.

    Raises:
        UserError: if the file is missing, damaged, unsafe to read or holds no state dict.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist: run the rule fetch_pretrained, or set `pretrained` to none")
    try:
        with torch.serialization.safe_globals(_harmless_globals()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = next((line for line in str(error).splitlines() if "GLOBAL" in line), "an unknown object").strip()
        raise UserError(
            f"{path} is damaged or holds objects that are not safe to read ({reason}): save its state_dict alone"
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}): remove it and fetch it again") from None
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise UserError(f"{path} holds no state dict of tensors: it is no checkpoint of mmaction2")
    return dict(state)


def _harmless_globals() -> list[Any]:
    """Return what pickles of numpy numbers call, under the names of numpy before and after version 2."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = (np.float64, np.float32, np.int64, np.int32, np.bool_)
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [*((scalar, name) for name in names), np.dtype, codecs.encode, *(type(np.dtype(kind)) for kind in kinds)]
