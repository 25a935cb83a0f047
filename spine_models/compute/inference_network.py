"""A network ready to predict."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch

from spine_models.compute.layout import arrange
from spine_models.compute.precision import Precision, autocast, autocast_type, choose_precision
from spine_models.errors import UserError
from spine_models.log import say
from spine_models.models.network import Network

T = TypeVar("T")


class NonFiniteOutputError(UserError):
    """A network's output is not finite, so that nothing that is made of it would be worth anything."""


class InferenceNetwork:
    """A folded copy of a network, on its device, in the layout and the precision for it.

    On the CPU, bf16 is a second copy whose weights are bf16, if the network computes with such: autocast would bring
    them to it in every pass.
    """

    def __init__(self, network: Network, device: torch.device, precision: str = "auto") -> None:
        """Copy ``network``, which stays as it is.

        Args:
            network: in evaluation mode, as ``load_model`` returns it.
            device: where the copy computes.
            precision: see ``choose_precision``; finished classifiers have ``classifier_precision``.

        Raises:
            ValueError: if the network is in training.
        """
        self.device = device
        self.precision = choose_precision(precision, device.type)
        self._network = arrange(network.folded(), device).requires_grad_(False)
        rounded = device.type == "cpu" and self.precision == "bf16" and network.bf16_weights
        self._rounded = copy.deepcopy(self._network).to(torch.bfloat16) if rounded else None

    @torch.inference_mode()
    def logits(self, images: torch.Tensor, precision: Precision | None = None) -> torch.Tensor:
        """Return the network's output for ``images`` (N, C, Z, Y, X) on any device, in float32.

        Args:
            images: standardised.
            precision: to compute in; None: the network's own.
        """
        precision, images = precision or self.precision, arrange(images, self.device)
        if self._rounded is not None and precision == "bf16":
            rounded: torch.Tensor = self._rounded(images.to(torch.bfloat16))
            return rounded.float()
        with autocast(precision, self.device):
            output: torch.Tensor = self._network(images)
        return output.float()

    def gradient(self, images: torch.Tensor, target: int) -> torch.Tensor:
        """Return the gradient of one output, summed over ``images``, by them, in float32 on the CPU.

        It is computed in the network's precision on a GPU and in float32 on the CPU. It costs a pass forward and one
        back, and holds every activation in between, but no gradient of a weight.

        Args:
            images: (N, C, Z, Y, X), standardised.
            target: index of the output.
        """
        precision: Precision = "fp32" if self.device.type == "cpu" else self.precision
        with torch.enable_grad(), autocast(precision, self.device):
            moved = arrange(images.detach(), self.device).requires_grad_(True)
            outputs: torch.Tensor = self._network(moved)
            (found,) = torch.autograd.grad(outputs[:, target].float().sum(), moved)
        return found.float().cpu()


def finite_or_again(precision: Precision, predict: Callable[[Precision], T]) -> tuple[T, bool]:
    """Predict one study, and once more in float32 where half precision overflowed.

    Args:
        precision: of the first attempt.
        predict: predicts the study in a precision.

    Returns:
        The prediction, and whether it took the second attempt.

    Raises:
        NonFiniteOutputError: if the output is not finite in float32 either.
    """
    try:
        return predict(precision), False
    except NonFiniteOutputError:
        if autocast_type(precision) is None:
            raise
    say(f"{precision} overflowed in this study: it is computed once more in float32")
    return predict("fp32"), True


def require_finite(finite: torch.Tensor, precision: Precision) -> None:
    """Refuse to go on where ``finite``, one truth value on any device, is false.

    Raises:
        NonFiniteOutputError: with the precision that the network computed in.
    """
    if not bool(finite):
        raise NonFiniteOutputError(
            f"a network's output is not finite (computed in {precision}): its weights are damaged: make or copy them "
            "anew"
        )
