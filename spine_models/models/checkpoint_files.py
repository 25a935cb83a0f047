"""Checkpoints that others saved with torch: read without running what they hold, and compared tensor by tensor."""

from __future__ import annotations

import codecs
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spine_models.errors import UserError
from spine_models.models.rehearsal import rehearse

_SHARED = 4
"""Weights may be shared by so many layers."""


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Return the state dict of a ``.pth`` file: under the key ``state_dict``, or the file's whole content.

    Beside the state dict such files hold a description of the training. Plain values and numpy numbers in it are
    read; a file with objects of any other kind is refused, because to read it means to run its code.

    Raises:
        UserError: if the file is missing, damaged, unsafe to read, needs more memory or time than its size explains, or
            holds no state dict.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist: a checkpoint is needed there")
    rehearse(_read, path)
    return _read(path)


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        with torch.serialization.safe_globals(_harmless_globals()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = next((line for line in str(error).splitlines() if "GLOBAL" in line), "an unknown object").strip()
        raise UserError(
            f"{path} is damaged or holds objects that are not safe to read ({reason}): save only its state_dict"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}): see that the disk is mounted, then run again") from None
    except MemoryError:
        raise
    except Exception as error:  # torch and its unpickler raise many kinds on damaged bytes
        raise UserError(f"{path} is damaged ({type(error).__name__}): remove it and fetch it again") from None
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise UserError(f"{path} holds no state dict of tensors: it is not a checkpoint of a network")
    _require_stored(path, state)
    return dict(state)


def _require_stored(path: Path, state: Mapping[Any, torch.Tensor]) -> None:
    """Check that every number is in the file: a tensor may also repeat one of them without end, or be without any."""
    claimed = 0
    for name, tensor in state.items():
        plain = isinstance(name, str) and tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not plain or tensor.is_quantized:
            raise UserError(f"{path} holds a tensor that is not a plain array of numbers: save its state_dict anew")
        claimed += tensor.numel() * tensor.element_size()
    if claimed > _SHARED * path.stat().st_size:
        raise UserError(f"{path} claims {claimed} bytes of weights, which it does not hold: fetch it again")


def differences(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> list[str]:
    """Say in what ``state`` differs from the names and shapes of ``expected``; empty where it fits."""
    problems = [f"{name} is missing" for name in expected if name not in state]
    problems += [f"{name} is not expected" for name in state if name not in expected]
    return problems + [
        f"{name} has the shape {tuple(state[name].shape)}, not {tuple(value.shape)}"
        for name, value in expected.items()
        if name in state and state[name].shape != value.shape
    ]


def _harmless_globals() -> list[Any]:
    """Return what pickles of numpy numbers call, under the names of numpy before and after version 2."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = (np.float64, np.float32, np.int64, np.int32, np.bool_)
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [*((scalar, name) for name in names), np.dtype, codecs.encode, *(type(np.dtype(kind)) for kind in kinds)]
