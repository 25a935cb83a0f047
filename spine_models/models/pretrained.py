"""Published weights brought into an encoder, strictly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from spine_models.errors import UserError
from spine_models.models.checkpoint_files import differences, read_checkpoint

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
    if not path.is_file():
        raise UserError(f"{path} does not exist: run the rule fetch_pretrained, or set `pretrained` to none")
    published = read_checkpoint(path)
    state = {name.removeprefix(_BACKBONE): value for name, value in published.items() if name.startswith(_BACKBONE)}
    unexpected = tuple(name for name in published if not name.startswith(_BACKBONE))
    own = backbone.state_dict()
    missing = tuple(name for name in own if name not in state and name.endswith(_BATCH_COUNT))
    problems = differences(
        {name: value for name, value in published.items() if not name.startswith(_HEAD)},
        {f"{_BACKBONE}{name}": value for name, value in own.items() if name not in missing},
    )
    if problems:
        raise UserError(
            f"{path} does not hold the weights of this encoder: {problems[0]} ({len(problems)} such tensors, "
            f"{len(state)} in the file); set `pretrained` to the checkpoint of this network, or to none"
        )
    backbone.load_state_dict({name: state.get(name, torch.zeros_like(value)) for name, value in own.items()})
    return PretrainedReport(tuple(name for name in own if name in state), unexpected, missing)
