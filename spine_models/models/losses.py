"""The loss of the segmentation: focal loss plus soft Jaccard of the vertebrae."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn import functional

from spine_models.levels import IGNORE_LABEL

JACCARD_EPS = 1e-4
"""Added to the intersection and to the union (method, segmentation)."""


@dataclass(frozen=True)
class LossSettings:
    """The configuration's ``segmentation.loss``.

    Attributes:
        focal_gamma: exponent of the focal loss; 0 (plain cross entropy) or at least 1.
        jaccard_weight: weight of the soft Jaccard beside the focal loss.
        min_voxels: a class with no more labelled voxels than this in an image is not counted in the Jaccard.
    """

    focal_gamma: float = 2.0
    jaccard_weight: float = 0.1
    min_voxels: int = 16


class SegmentationLoss(NamedTuple):
    """The loss and its two parts, each a float32 scalar averaged over the images of the batch."""

    total: torch.Tensor
    focal: torch.Tensor
    jaccard: torch.Tensor


def segmentation_loss(logits: torch.Tensor, labels: torch.Tensor, settings: LossSettings) -> SegmentationLoss:
    """Return ``focal + jaccard_weight * jaccard``, reduced for each image, then averaged over the batch.

    With p_c(v) the softmax over the classes at voxel v, t(v) the label and V the voxels of one image whose label
    is not 255::

        focal   = 1 / |V| * sum over v in V of -(1 - p_t(v)) ** gamma * log p_t(v)
        I_c     = sum over v in V with t(v) = c of p_c(v)
        U_c     = sum over v in V of p_c(v) + (number of v in V with t(v) = c) - I_c
        jaccard = mean over the counted classes c of 1 - (I_c + eps) / (U_c + eps),  eps = 1e-4

    Counted are the classes 1 to 7 with more than ``min_voxels`` voxels in V. An image without counted classes
    has a Jaccard of 0, an image without voxels in V a focal loss of 0, and both count in the batch's mean, so that
    accumulating images one by one equals one large batch.

    Probabilities are computed in float32 whatever the precision of ``logits``, sums over voxels in float64.

    Args:
        logits: (N, C, Z, Y, X), class 0 is background.
        labels: (N, Z, Y, X), integers; 0 to C - 1, or 255 for voxels that are not part of the loss.
        settings: weights and thresholds.
    """
    with torch.autocast(logits.device.type, enabled=False):
        classes = logits.shape[1]
        log_p = functional.log_softmax(logits.float().flatten(2), dim=1)
        flat = labels.flatten(1).long()
        valid = flat != IGNORE_LABEL
        target = flat.masked_fill(~valid, 0)
        log_p_target = log_p.gather(1, target[:, None])[:, 0].masked_fill(~valid, 0.0)
        focal = _focal(log_p_target, valid, settings.focal_gamma)
        # Ignored voxels go into a bin of their own behind the classes.
        bins = flat.masked_fill(~valid, classes)
        jaccard = _jaccard(log_p, log_p_target, bins, valid, settings.min_voxels)
        total = focal + settings.jaccard_weight * jaccard
        return SegmentationLoss(total.mean().float(), focal.mean().float(), jaccard.mean().float())


def _focal(log_p_target: torch.Tensor, valid: torch.Tensor, gamma: float) -> torch.Tensor:
    """Return the focal loss of each image, (N,) float64; ``log_p_target`` (N, V) is 0 where not ``valid``."""
    losses = -((-torch.expm1(log_p_target)) ** gamma) * log_p_target
    return losses.sum(1, dtype=torch.float64) / valid.sum(1).clamp(min=1)


def _jaccard(
    log_p: torch.Tensor, log_p_target: torch.Tensor, bins: torch.Tensor, valid: torch.Tensor, min_voxels: int
) -> torch.Tensor:
    """Return the soft Jaccard loss of each image, (N,) float64, from (N, C, V), (N, V), (N, V) and (N, V)."""
    images, classes, _ = log_p.shape
    empty = log_p.new_zeros(images, classes + 1, dtype=torch.float64)
    intersections = empty.scatter_add(1, bins, log_p_target.exp().double())[:, 1:classes]
    voxels = empty.scatter_add(1, bins, torch.ones_like(bins, dtype=torch.float64))[:, 1:classes]
    predicted = (log_p[:, 1:].exp() * valid[:, None]).sum(2, dtype=torch.float64)
    unions = predicted + voxels - intersections
    losses = 1.0 - (intersections + JACCARD_EPS) / (unions + JACCARD_EPS)
    counted = voxels > min_voxels
    return (losses * counted).sum(1) / counted.sum(1).clamp(min=1)
