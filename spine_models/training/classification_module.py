"""A fracture classifier in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from spine_models.compute.crop_predictor import CropPredictor
from spine_models.compute.inference_network import InferenceNetwork
from spine_models.compute.network_input import classifier_input
from spine_models.evaluation.competition import competition_loss
from spine_models.levels import TARGETS
from spine_models.models.network import Network
from spine_models.provenance.facts import Facts
from spine_models.training.classification_recipe import ClassificationRecipe
from spine_models.training.held_out_crops import HeldOutStudy, probabilities_or_prior
from spine_models.training.stage_module import StageModule


@dataclass(frozen=True)
class ClassifierVerdict(Facts):
    """The challenge's loss over the ``n_studies`` held-out studies."""

    competition_loss: float
    n_studies: int

    @property
    def metric(self) -> float:
        """What epochs are compared by."""
        return self.competition_loss


@dataclass(frozen=True)
class AssessedStudy(Facts):
    """Probabilities and true targets of a held-out study, eight each."""

    probabilities: tuple[float, ...]
    target: tuple[int, ...]


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

    def images(self, sample: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the input of stacked ``ClassifierCrop``s, (N, 3, D, S, S)."""
        return classifier_input(*sample)

    def losses(self, image: torch.Tensor, target: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Return the loss of crops (N, 3, D, S, S) with targets (N, 8)."""
        return {"loss": functional.binary_cross_entropy_with_logits(self.network(image), target)}

    def assess(self, item: HeldOutStudy, network: InferenceNetwork) -> dict[str, Any]:
        """Return the study's probabilities and targets; see ``StageModule``."""
        probabilities = probabilities_or_prior(CropPredictor(network), item, self.prior)
        return AssessedStudy(tuple(probabilities), tuple(int(value) for value in item.target.tolist())).to_json()

    def judge(self, results: dict[str, Any]) -> ClassifierVerdict:
        """Return the metric and the number of studies."""
        found = [AssessedStudy.from_json(study) for study in results.values()]
        loss = competition_loss([study.probabilities for study in found], [study.target for study in found])
        return ClassifierVerdict(loss, len(found))
