"""Networks in safetensors files that can be rebuilt from the file alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save_file

from spine_models.errors import UserError
from spine_models.models.networks import KIND, KINDS, Stage, build, kinds_of
from spine_models.provenance.canonical import canonical_json
from spine_models.provenance.files import replacing
from spine_models.provenance.packed import AnyFile, PackedFile, size_of
from spine_models.schema_check import complaint

if TYPE_CHECKING:
    from spine_models.models.network import Network

_METADATA_KEY = "spine_models"
_LARGEST_HEADER = 64 << 20
"""Bytes; that of a published network has 0.1 MB, and 8 MB more where it names a hundred thousand studies."""


def save_model(path: Path, model: Network, provenance: Mapping[str, Any]) -> None:
    """Write a network's weights, architecture and provenance, atomically; equal content gives equal bytes.

    Args:
        path: the ``.safetensors`` file.
        model: a network that has not been folded; its device, mode and memory format do not matter.
        provenance: JSON values: what the weights were made from.

    Raises:
        TypeError: if ``provenance`` holds what JSON cannot express.
    """
    save_state(path, model.state_dict(), describe(model, provenance))


def describe(model: Network, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description that ``save_state`` stores beside the weights of ``model``."""
    return {"kind": model.kind, "settings": asdict(model.settings), "provenance": dict(provenance)}


def save_state(path: Path, state: Mapping[str, torch.Tensor], description: Mapping[str, Any]) -> None:
    """Write a state dict with its description (``describe``, ``load_state``), atomically."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    # Only one metadata key: safetensors writes several in random order.
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={_METADATA_KEY: canonical_json(description)})


def load_state(path: AnyFile) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read the tensors of a file that ``save_model`` or ``save_state`` wrote, and its description.

    Raises:
        UserError: if the file is missing, damaged or was not written by this pipeline, or a number in it is not finite.
    """
    if isinstance(path, Path) and not path.is_file():
        raise UserError(f"{path} does not exist: a model file is needed there")
    _require_small_header(path)
    try:
        metadata, state = _packed(path) if isinstance(path, PackedFile) else _plain(path)
        stored = json.loads(metadata[_METADATA_KEY])
        description = {name: stored[name] for name in ("kind", "settings", "provenance")}
    except OSError as error:
        why = error.strerror or error  # safetensors gives no number
        raise UserError(f"{path} cannot be read ({why}): see that the disk is mounted, then run again") from None
    except SafetensorError:
        raise UserError(f"{path} is damaged or not a safetensors file: make or copy it anew") from None
    except (KeyError, ValueError, TypeError, RecursionError):
        raise UserError(f"{path} does not say which network it holds: it was not written by this pipeline") from None
    if not isinstance(description["provenance"], dict):
        raise UserError(f"{path} does not say which network it holds: it was not written by this pipeline")
    for name, tensor in state.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{path} holds numbers that are not finite ({name}): make or copy it anew")
    return state, _of_today(description)


def _plain(path: Path) -> tuple[Mapping[str, str], dict[str, torch.Tensor]]:
    with safe_open(path, framework="pt") as stream:
        return stream.metadata() or {}, {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118


def _packed(file: PackedFile) -> tuple[Mapping[str, str], dict[str, torch.Tensor]]:
    """Read all at once: the library takes a path or bytes, and of bytes it gives no metadata."""
    with file.open("rb") as stream:
        data = stream.read()
    state = load(data)
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]).get("__metadata__") or {}, state


def _require_small_header(path: AnyFile) -> None:
    """Check the length that a safetensors file gives for its header, before memory is taken for it.

    The file's first eight bytes are that length (format of safetensors).
    """
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
    if length > min(_LARGEST_HEADER, size_of(path) - 8):
        raise UserError(f"{path} is damaged (it claims a header of {length} bytes): make or copy it anew")


def load_model(path: AnyFile, stage: Stage) -> tuple[Network, dict[str, Any]]:
    """Rebuild a network from its file alone, on the CPU and in evaluation mode.

    Args:
        path: the ``.safetensors`` file.
        stage: what the network must be for.

    Returns:
        The network and the provenance that it was saved with.

    Raises:
        UserError: if the file is missing, damaged or foreign, holds a network of another stage, or its tensors do not
            fit its own architecture.
    """
    state, description = load_state(path)
    if description["kind"] not in kinds_of(stage):
        raise UserError(
            f"{path} holds a network of the kind {description['kind']}, which is not one of {stage}: give a file that "
            f"the {stage} made, or use the version of spine_models that wrote it"
        )
    _require_settings(path, description)
    try:
        # Without memory at first: no time for random weights, and the random state stays as it is.
        with torch.device("meta"):
            model = build({**description["settings"], KIND: description["kind"]})
        _require_types(state, model.state_dict())
        model.load_state_dict(state, strict=True, assign=True)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} does not fit the network that it describes ({reason}): "
            "make it anew, or use the version of spine_models that wrote it"
        ) from None
    return model.eval(), description["provenance"]


def _require_settings(path: AnyFile, description: Mapping[str, Any]) -> None:
    """Check the settings of the network against their bounds in the registry; those that are younger may be missing."""
    own = description["settings"]
    settings = {name: value for name, value in own.items() if name != KIND} if isinstance(own, dict) else own
    known = {"type": "object", "additionalProperties": False, "properties": dict(KINDS[description["kind"]].settings)}
    problem = complaint(settings, known)
    if problem:
        raise UserError(
            f"{path} does not fit the network that it describes ({problem}): make it anew, or use the version of "
            "spine_models that wrote it"
        )


def _require_types(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    """Raise ValueError for a tensor of another type or shape than the network's; torch lets some of them pass."""
    for name, tensor in state.items():
        if name in expected and tensor.dtype != expected[name].dtype:
            raise ValueError(f"{name} holds {tensor.dtype}, not {expected[name].dtype}")
        if name in expected and tensor.shape != expected[name].shape:
            raise ValueError(f"{name} has the shape {tuple(tensor.shape)}, not {tuple(expected[name].shape)}")


def _of_today(description: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a classifier that release 0.1 wrote as today's; any other as it is."""
    if description["kind"] != "csn_classifier" or not isinstance(description["settings"], dict):
        return description
    settings = {"mode" if name == "variant" else name: value for name, value in description["settings"].items()}
    return description | {"kind": "csn", "settings": settings}
