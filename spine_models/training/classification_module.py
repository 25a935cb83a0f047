"""A fracture classifier in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from spine_models.evaluation.aggregate import study_probabilities
from spine_models.evaluation.competition import competition_loss
from spine_models.levels import TARGETS
from spine_models.models.network import Network
from spine_models.training.classification_recipe import ClassificationRecipe
from spine_models.training.stage_module import StageModule


class HeldOutStudy(NamedTuple):
    """One study of the validation.

    Attributes:
        study: its id.
        crops: (K, 3, D, S, S), all windows of its usable levels; K is 0 where there is none.
        target: (8,), the labels as given.
    """

    study: str
    crops: torch.Tensor
    target: torch.Tensor


class ClassificationModule(StageModule):
    """A classifier with BCE; the metric is the challenge's loss over the fold's studies.

    Attributes:
        prior: (8,), what a study without any crop is predicted as; ``prior_probabilities`` of the training studies.
    """

    stage = "classification"
    metric = "competition_loss"
    larger_is_better = False
    network: Network
    recipe: ClassificationRecipe
    prior: Sequence[float] = (0.5,) * len(TARGETS)

    def losses(self, image: torch.Tensor, target: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Return the loss of crops (N, 3, D, S, S) with targets (N, 8)."""
        return {"loss": functional.binary_cross_entropy_with_logits(self.network(image), target)}

    def assess(self, item: HeldOutStudy) -> dict[str, Any]:
        """Return the study's probabilities and targets."""
        crops = crop_probabilities(self.network, item.crops, self.plan.micro_batch, self.device)
        self.refuse_non_finite(item.study, crops)
        return {"probabilities": _of_study(crops, self.prior), "target": [int(value) for value in item.target.tolist()]}

    def judge(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return the metric and the number of studies."""
        found = list(results.values())
        loss = competition_loss([study["probabilities"] for study in found], [study["target"] for study in found])
        return {"competition_loss": loss, "n_studies": len(found)}


def predict_study(
    network: Network, crops: torch.Tensor, batch: int, device: torch.device, prior: Sequence[float]
) -> list[float]:
    """Return the probabilities of one study, (8,): the maximum over its crops, clipped.

    Args:
        network: in evaluation mode on ``device``.
        crops: (K, 3, D, S, S); K may be 0.
        batch: crops at once.
        device: where the network lies.
        prior: what a study without crops is predicted as.
    """
    return _of_study(crop_probabilities(network, crops, batch, device), prior)


def crop_probabilities(network: Network, crops: torch.Tensor, batch: int, device: torch.device) -> torch.Tensor:
    """Return the probabilities of each crop of a study, (K, 8), float64 (arguments as ``predict_study`` has them)."""
    parts = [
        network(part.to(device).contiguous(memory_format=torch.channels_last_3d)).sigmoid().cpu().double()
        for part in torch.split(crops, batch)
        if len(part)
    ]
    return torch.cat(parts) if parts else torch.zeros(0, len(TARGETS), dtype=torch.float64)


def _of_study(crops: torch.Tensor, prior: Sequence[float]) -> list[float]:
    if not len(crops):
        return list(prior)
    return [float(value) for value in study_probabilities(list(crops.numpy()))]
