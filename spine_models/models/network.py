"""What every network offers to training, prediction and the estimate of memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from torch import nn

from spine_models.provenance.settings import settings_from

if TYPE_CHECKING:
    from spine_models.models.pretrained import PretrainedReport


class Network(nn.Module, ABC):
    """A network of the registry (``models.networks``).

    Its constructor takes the settings and, by name, ``freeze_bn`` and ``activation_checkpointing``.

    Attributes:
        kind: its name in the registry, in configurations and in files of weights.
        settings_type: the dataclass of its settings.
        strides: how much smaller its deepest feature map is, along z and in the plane.
        bf16_weights: whether it computes in bf16 from one end to the other where its weights and its input are bf16,
            which is faster than autocast on the CPU; for others autocast chooses the types.
        settings: its architecture.
    """

    kind: ClassVar[str]
    settings_type: ClassVar[type[Any]]
    strides: ClassVar[tuple[int, int]]
    bf16_weights: ClassVar[bool] = False
    settings: Any

    @classmethod
    def of(cls, settings: Mapping[str, Any], *, freeze_bn: bool, activation_checkpointing: bool) -> Self:
        """Build the network from its settings as JSON values.

        Raises:
            TypeError: if a setting is missing or unknown.
        """
        typed = settings_from(cls.settings_type, settings)
        return cls(typed, freeze_bn=freeze_bn, activation_checkpointing=activation_checkpointing)

    @abstractmethod
    def units(self) -> list[nn.Module]:
        """Return the parts that activation checkpointing runs again, in the order of the forward pass."""

    @abstractmethod
    def folded(self) -> Self:
        """Return a copy for inference only, in which batch norms are part of the layers before them.

        The copy computes the same (to 1e-5 in float32); it has other parameters, so that it cannot be saved or trained.

        Raises:
            ValueError: if the network is in training.
        """

    @abstractmethod
    def load_published(self, path: Path) -> PretrainedReport:
        """Copy published weights out of a checkpoint.

        Raises:
            UserError: if the file cannot be read safely, or does not fit this network.
        """

    def watched(self) -> list[nn.Module]:
        """Return the layers whose largest activation a training of masks reports: overflow begins there."""
        return self.units()
