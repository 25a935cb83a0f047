"""A network ready to predict."""

from __future__ import annotations

import torch

from spine_models.compute.layout import arrange
from spine_models.compute.precision import autocast, choose_precision
from spine_models.errors import UserError
from spine_models.models.network import Network


class NonFiniteOutputError(UserError):
    """A network's output is not finite, so that nothing that is made of it would be worth anything."""


class InferenceNetwork:
    """A folded copy of a network, on its device, in the layout and the precision for it."""

    def __init__(self, network: Network, device: torch.device, precision: str = "auto") -> None:
        """Copy ``network``, which stays as it is.

        Args:
            network: in evaluation mode, as ``load_model`` returns it.
            device: where the copy computes.
            precision: see ``choose_precision``.

        Raises:
            ValueError: if the network is in training.
        """
        self.device = device
        self.precision = choose_precision(precision, device.type)
        self._network = arrange(network.folded(), device)

    @torch.inference_mode()
    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the network's output for ``images`` (N, C, Z, Y, X) on any device, in float32."""
        with autocast(self.precision, self.device):
            output: torch.Tensor = self._network(arrange(images, self.device))
        return output.float()


def require_finite(finite: torch.Tensor, networks: list[InferenceNetwork]) -> None:
    """Refuse to go on where ``finite``, one truth value on any device, is false.

    Raises:
        NonFiniteOutputError: with the precision that ``networks`` compute in.
    """
    if not bool(finite):
        raise NonFiniteOutputError(
            f"a network's output is not finite (computed in {networks[0].precision}): its weights are damaged, or half "
            "precision overflows, which device: cpu avoids"
        )
