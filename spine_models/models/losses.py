"""The loss of the segmentation: focal loss plus soft Jaccard of the vertebrae."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from spine_models.levels import IGNORE_LABEL
from spine_models.models.precision import single_precision

JACCARD_EPS = 1e-4
"""Added to the intersection and to the union (method, segmentation)."""


@dataclass(frozen=True)
class LossSettings:
    """The configuration's ``segmentation.training.loss``.

    Attributes:
        focal_gamma: exponent of the focal loss; 0 is plain cross entropy.
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

    Probabilities are computed in float32 at least, whatever the precision of ``logits``.

    Args:
        logits: (N, C, Z, Y, X), class 0 is background.
        labels: (N, Z, Y, X), integers; 0 to C - 1, or 255 for voxels that are not part of the loss.
        settings: weights and thresholds.
    """
    flat = labels.flatten(1).long()
    with torch.autocast(logits.device.type, enabled=False):
        losses: tuple[torch.Tensor, torch.Tensor] = _ImageLosses.apply(  # type: ignore[no-untyped-call]
            single_precision(logits).flatten(2), flat, settings.focal_gamma, settings.min_voxels
        )
    focal, jaccard = (loss.mean() for loss in losses)
    return SegmentationLoss(focal + settings.jaccard_weight * jaccard, focal, jaccard)


class _ImageLosses(torch.autograd.Function):
    """Focal loss and soft Jaccard of each image, by gather and scatter-add with the gradient written out.

    One-hot targets and the products that autograd would keep cost most of the time and memory: this keeps
    only the probabilities. With q = p_t, the gradient by the logits z of the same voxel is, k being a class::

        d focal / d z_k   = (delta_kt - p_k) * a / |V|
        a                 = gamma * q * (1 - q) ** (gamma - 1) * log q - (1 - q) ** gamma
        d jaccard / d z_k = p_k * (A_k - sum over c of A_c p_c) + (delta_kt - p_k) * q * B_t

    where A_c = (I_c + eps) / (U_c + eps) ** 2 and B_c = -A_c - 1 / (U_c + eps), both over the number of counted
    classes and 0 for the others, are the derivatives of the Jaccard by sum p_c and, beside that, by I_c.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, labels: torch.Tensor, gamma: float, min_voxels: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the (N,) losses of logits (N, C, V) and labels (N, V)."""
        valid = labels != IGNORE_LABEL
        target = labels.masked_fill(~valid, 0)
        log_p = functional.log_softmax(logits, dim=1)
        log_q = _of_target(log_p, target)
        p = log_p.exp_().mul_(valid[:, None])
        voxels = valid.sum(1).clamp(min=1)
        losses = -((-torch.expm1(log_q)) ** gamma) * log_q * valid
        ratios, by_sum, by_intersection, counted = _jaccard_terms(p, target, valid, min_voxels)
        ctx.save_for_backward(p, log_q, target, valid, voxels, by_sum, by_intersection)
        ctx.gamma = gamma
        focal = losses.sum(1) / voxels
        jaccard = ((1.0 - ratios) * counted).sum(1) / counted.sum(1).clamp(min=1)
        return focal, jaccard.to(focal.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, focal: torch.Tensor, jaccard: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradient (N, C, V) by the logits for the (N,) gradients by the two losses."""
        p, log_q, target, valid, voxels, by_sum, by_intersection = ctx.saved_tensors
        q, rest = log_q.exp(), -torch.expm1(log_q)
        # The clamp matters where q = 1 and gamma < 1, where the product's limit is 0.
        slope = ctx.gamma * q * rest.clamp(min=1e-30) ** (ctx.gamma - 1.0) * log_q - rest**ctx.gamma
        weight_sum = (by_sum * jaccard[:, None]).to(p.dtype)
        weight_target = (by_intersection * jaccard[:, None]).to(p.dtype).gather(1, target)
        at_target = (slope * (focal / voxels)[:, None] + q * weight_target) * valid
        inner = torch.bmm(weight_sum[:, None], p)[:, 0] + at_target
        gradient = (weight_sum[:, :, None] - inner[:, None]).mul_(p)
        return gradient.scatter_add_(1, target[:, None], at_target[:, None]), None, None, None


def _of_target(values: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Pick from (N, C, V) the values of the classes (N, V)."""
    return values.gather(1, target[:, None])[:, 0]


def _jaccard_terms(
    p: torch.Tensor, target: torch.Tensor, valid: torch.Tensor, min_voxels: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return, each (N, C), the Jaccard ratios, A, B (see ``_ImageLosses``) and which classes are counted.

    Args:
        p: (N, C, V), 0 where not valid.
        target: (N, V), 0 where not valid.
        valid: (N, V).
        min_voxels: see ``LossSettings``.
    """
    intersections, voxels = _class_sums(p, target, valid)
    unions = p.sum(2).double() + voxels - intersections + JACCARD_EPS
    ratios = (intersections + JACCARD_EPS) / unions
    counted = voxels > min_voxels
    counted[:, 0] = False
    share = counted.double() / counted.sum(1, keepdim=True).clamp(min=1)
    by_sum = share * ratios / unions
    return ratios, by_sum, -by_sum - share / unions, counted


def _class_sums(p: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return, each (N, C) in float64, the sum of p and the number of valid voxels where the class is the target.

    float64: adding a million values one after the other costs float32 four digits. On a GPU all voxels would add to the
    same few numbers in turn, so that each class has a sum of its own there.
    """
    if p.is_cuda:
        return _class_by_class(p, target, valid)
    empty = torch.zeros(p.shape[:2], dtype=torch.float64, device=p.device)
    intersections = empty.scatter_add(1, target, _of_target(p, target).double())
    return intersections, empty.scatter_add(1, target, valid.double())


def _class_by_class(p: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what ``_class_sums`` does, without adding into shared places."""
    intersections, voxels = [], []
    for index in range(p.shape[1]):
        here = target == index
        intersections.append((p[:, index] * here).sum(1, dtype=torch.float64))
        voxels.append((here & valid).sum(1).double())
    return torch.stack(intersections, dim=1), torch.stack(voxels, dim=1)
