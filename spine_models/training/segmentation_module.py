"""The segmentation network in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from spine_models.compute.inference_network import InferenceNetwork
from spine_models.compute.mask_predictor import MaskPredictor, SlidingWindowSettings
from spine_models.compute.network_input import standardised
from spine_models.evaluation.dice import dice_per_level, mean_dice, mean_dice_per_level
from spine_models.evaluation.segmentation_figures import SegmentationFigures
from spine_models.models.losses import segmentation_loss
from spine_models.models.network import Network
from spine_models.training.batching import BatchPlan
from spine_models.training.segmentation_recipe import SegmentationRecipe
from spine_models.training.stage_module import StageModule

_LOOK_EVERY_STEPS = 50


class HeldOutVolume(NamedTuple):
    """One study of the validation.

    Attributes:
        study: its id.
        half: (Z, Y, X), int16 HU.
        label: (Z, Y, X), uint8, 0 to 7 or 255.
        mean: of the half volume, in HU.
        std: of the half volume, in HU.
    """

    study: str
    half: torch.Tensor
    label: torch.Tensor
    mean: float
    std: float


class SegmentationModule(StageModule):
    """A network of masks with focal and soft Jaccard loss; the metric is the mean Dice over the vertebrae present."""

    stage = "segmentation"
    metric = "dice_mean"
    larger_is_better = True
    network: Network
    recipe: SegmentationRecipe

    def __init__(self, network: Network, recipe: SegmentationRecipe, plan: BatchPlan, steps: int) -> None:
        """See ``StageModule``."""
        super().__init__(network, recipe, plan, steps)
        self.activation_maxima = ActivationMaxima(network.watched())

    def losses(self, image: torch.Tensor, target: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Return the losses of images (N, 1, Z, Y, X) and labels (N, Z, Y, X).

        Every 50 steps, and at the start of every epoch, the largest activation of the decoder is taken along, so
        that a person sees an overflow of half precision (65504 in fp16) coming.
        """
        steps_per_epoch = self.steps // self.recipe.epochs
        if self.global_step % steps_per_epoch % _LOOK_EVERY_STEPS == 0:
            with self.activation_maxima:
                logits = self.network(image)
            # A mean over so few looks would hide the peak: the largest of the epoch is what counts.
            self.keep_largest("activation_max", self.activation_maxima.largest())
        else:
            logits = self.network(image)
        loss = segmentation_loss(logits, target, self.recipe.loss)
        return {"loss": loss.total, "focal": loss.focal, "jaccard": loss.jaccard}

    def images(self, sample: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the standardised images, (N, 1, Z, Y, X), of stacked ``SegmentationWindow``s."""
        return standardised(*sample)[:, None]

    def assess(self, item: HeldOutVolume, network: InferenceNetwork) -> dict[str, float]:
        """Return the Dice of each level that the study's label holds; see ``StageModule``."""
        settings = self.recipe.validation
        windows = SlidingWindowSettings(settings.window, settings.overlap, self.network.strides[0], batch=1)
        mask = MaskPredictor([network], windows).mask(item.half.cpu().numpy(), item.mean, item.std)
        return dice_per_level(mask, item.label.cpu().numpy())

    def judge(self, results: dict[str, dict[str, float]]) -> SegmentationFigures:
        """Return Dice of the fold."""
        studies = list(results.values())
        return SegmentationFigures(mean_dice(studies), mean_dice_per_level(studies), len(results), results)


class ActivationMaxima:
    """Measures the largest absolute output of some layers while it is entered."""

    def __init__(self, layers: list[nn.Module]) -> None:
        """Watch ``layers``."""
        self._layers = layers
        self._maxima: list[torch.Tensor] = []
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> None:
        """Start to look."""
        self._maxima = []
        self._handles = [layer.register_forward_hook(self._look) for layer in self._layers]

    def __exit__(self, *_: object) -> None:
        """Stop to look."""
        for handle in self._handles:
            handle.remove()

    def largest(self) -> torch.Tensor:
        """Return the largest absolute output, a scalar; it is not finite where an output was not."""
        return torch.stack(self._maxima).max()

    def _look(self, _layer: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        self._maxima.append(output.detach().abs().amax().float())
