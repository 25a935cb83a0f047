"""Networks in safetensors files that can be rebuilt from the file alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from spine_models.errors import UserError
from spine_models.models.networks import KIND, Stage, build, kinds_of
from spine_models.provenance.canonical import canonical_json
from spine_models.provenance.files import replacing

if TYPE_CHECKING:
    from spine_models.models.network import Network

_METADATA_KEY = "spine_models"


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
    # One metadata key alone: safetensors writes several in random order.
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={_METADATA_KEY: canonical_json(description)})


def load_state(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read the tensors of a file that ``save_model`` or ``save_state`` wrote, and its description.

    Raises:
        UserError: if the file is missing, damaged or was not written by this pipeline.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist: a model file is needed there")
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            state = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        stored = json.loads(metadata[_METADATA_KEY])
        description = {name: stored[name] for name in ("kind", "settings", "provenance")}
    except (SafetensorError, OSError):
        raise UserError(f"{path} is damaged or no safetensors file: make or copy it anew") from None
    except (KeyError, ValueError, TypeError):
        raise UserError(f"{path} does not say which network it holds: it was not written by this pipeline") from None
    return state, _of_today(description)


def load_model(path: Path, stage: Stage) -> tuple[Network, dict[str, Any]]:
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
            f"{path} holds a network of the kind {description['kind']}, which is none of {stage}: give a file that the "
            f"{stage} made, or use the version of spine_models that wrote it"
        )
    try:
        # Without memory at first: no time for random weights, and the random state stays as it is.
        with torch.device("meta"):
            model = build({**description["settings"], KIND: description["kind"]})
        model.load_state_dict(state, strict=True, assign=True)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} does not fit the network that it describes ({reason}): "
            "make it anew, or use the version of spine_models that wrote it"
        ) from None
    return model.eval(), description["provenance"]


def _of_today(description: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a classifier that release 0.1 wrote as today's; any other as it is."""
    if description["kind"] != "csn_classifier":
        return description
    settings = {"mode" if name == "variant" else name: value for name, value in description["settings"].items()}
    return description | {"kind": "csn", "settings": settings}
