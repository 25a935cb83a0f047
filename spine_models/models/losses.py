"""The loss of the segmentation: focal loss plus soft Jaccard of the vertebrae."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

from spine_models.levels import IGNORE_LABEL

JACCARD_EPS = 1e-4
"""Added to the intersection and to the union (method, segmentation)."""
PIECE_VOXELS = 64 * 1024
"""Voxels computed at a time on a CPU: their numbers stay in its cache."""


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

    Probabilities are computed in float32 at least, whatever the precision of ``logits``. The backward pass writes the
    gradient over them: there is one for each call.

    Args:
        logits: (N, C, Z, Y, X), class 0 is background.
        labels: (N, Z, Y, X), integers; 0 to C - 1, or 255 for voxels that are not part of the loss.
        settings: weights and thresholds.

    Raises:
        RuntimeError: in a second backward pass through what one call returned.
    """
    with torch.autocast(logits.device.type, enabled=False):
        losses: tuple[torch.Tensor, torch.Tensor] = _ImageLosses.apply(  # type: ignore[no-untyped-call]
            logits.flatten(2), labels.flatten(1), settings.focal_gamma, settings.min_voxels
        )
    focal, jaccard = (loss.mean() for loss in losses)
    return SegmentationLoss(focal + settings.jaccard_weight * jaccard, focal, jaccard)


class _ImageLosses(torch.autograd.Function):
    """Focal loss and soft Jaccard of each image, piece by piece, with the gradient written out.

    One-hot targets and the products that autograd would keep cost most of the time and memory: this keeps the
    probabilities and one number for each voxel, and the gradient takes the place of the probabilities. With q = p_t,
    the gradient by the logits z of the same voxel is, k being a class::

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
        kind = torch.promote_types(logits.dtype, torch.float32)
        p = torch.empty_like(logits, dtype=kind, memory_format=torch.contiguous_format)
        a = p.new_empty(labels.shape)
        sums = _Sums(*p.new_zeros((4, *p.shape[:2]), dtype=torch.float64))
        for image in zip(p, labels, a, logits, *sums, strict=True):
            image_sums = _Sums(*image[4:])
            for piece in _pieces(*image[:4]):
                _add(piece, gamma, image_sums)
        voxels = sums.voxels.sum(1).clamp(min=1)
        jaccard, by_sum, by_intersection = _jaccard_terms(sums, min_voxels)
        ctx.save_for_backward(p, a, labels, voxels, by_sum, by_intersection)
        ctx.kind, ctx.spent = logits.dtype, False
        return (sums.focal.sum(1) / voxels).to(kind), jaccard.to(kind)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, focal: torch.Tensor, jaccard: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradient (N, C, V) by the logits for the (N,) gradients by the two losses."""
        if ctx.spent:
            raise RuntimeError(
                "the segmentation loss has written its gradient over its probabilities: call segmentation_loss again "
                "for another backward pass"
            )
        ctx.spent = True
        p, a, labels, voxels, by_sum, by_intersection = ctx.saved_tensors
        weights = ((by_sum * jaccard[:, None]), (by_intersection * jaccard[:, None]), focal / voxels)
        with torch.autocast(p.device.type, enabled=False):
            for *image, of_sum, of_target, of_focal in zip(
                p, labels, a, *(w.to(p.dtype) for w in weights), strict=True
            ):
                for piece in _pieces(*image):
                    at_target = piece.of_target().mul_(of_target.index_select(0, piece.target))
                    at_target.addcmul_(piece.a, of_focal)
                    inner = torch.mv(piece.p.t(), of_sum).add_(at_target)
                    piece.p.mul_(of_sum[:, None] - inner)
                    piece.flat.index_add_(0, piece.places, at_target)
        return p.to(ctx.kind), None, None, None


class _Piece(NamedTuple):
    """Voxels of one image, a view into the arrays of the batch.

    Attributes:
        p: (C, P), the probabilities, 0 where not valid.
        a: (P,), see ``_ImageLosses``, 0 where not valid.
        logits: (C, P).
        flat: the image's probabilities in a row, from the piece's first voxel of class 0 on.
        target: (P,), int32; 0 where not valid.
        places: (P,), where in ``flat`` each voxel's own class is.
        valid: (P,), 1 for the voxels that are part of the loss, 0 for the others, in the type of the labels.
    """

    p: torch.Tensor
    a: torch.Tensor
    logits: torch.Tensor
    flat: torch.Tensor
    target: torch.Tensor
    places: torch.Tensor
    valid: torch.Tensor

    def of_target(self) -> torch.Tensor:
        """Return what ``p`` holds for each voxel's own class, (P,)."""
        return self.flat.index_select(0, self.places)


def _pieces(
    p: torch.Tensor, labels: torch.Tensor, a: torch.Tensor, logits: torch.Tensor | None = None
) -> Iterator[_Piece]:
    """Go through an image: p, contiguous, and logits (C, V), labels and a (V,). A GPU takes all voxels at once."""
    voxels = p.shape[1]
    size = min(voxels, PIECE_VOXELS) if p.device.type == "cpu" else voxels
    numbers = torch.arange(size, dtype=torch.int32, device=p.device)
    flat = p.view(-1)
    parts = (torch.split(part, size, dim=-1) for part in (p, labels, a, p if logits is None else logits))
    for number, (p_part, label, a_part, logits_part) in enumerate(zip(*parts, strict=True)):
        # Multiplying numbers of one type is much faster than filling by a mask.
        valid = torch.ne(label, IGNORE_LABEL, out=torch.empty_like(label))
        target = (label * valid).int()
        places = torch.add(numbers[: len(target)], target, alpha=voxels)
        yield _Piece(p_part, a_part, logits_part, flat[number * size :], target, places, valid)


class _Sums(NamedTuple):
    """Sums over the voxels of each class, (N, C) or of one image (C,).

    float64: adding a million values one after the other costs float32 four digits.

    Attributes:
        p: of the probabilities of the class at all voxels.
        focal: of the focal loss where the class is the target.
        intersections: of its probabilities where it is the target.
        voxels: how many voxels have it as their target.
    """

    p: torch.Tensor
    focal: torch.Tensor
    intersections: torch.Tensor
    voxels: torch.Tensor


def _add(piece: _Piece, gamma: float, sums: _Sums) -> None:
    """Fill p and a of the piece from its logits, and add to the image's sums."""
    p, valid = piece.p, piece.valid.to(piece.p.dtype)
    logits = piece.logits.to(p.dtype)
    # PyTorch's softmax takes twice as long over a dimension that is not the last.
    torch.sub(logits, logits.amax(0), out=p)
    log_q = piece.of_target()
    total = p.exp_().sum(0)
    p.mul_(valid / total)
    log_q.sub_(total.log_())
    q = piece.of_target()
    # The clamp matters where q = 1 and gamma < 1, where the product's limit is 0.
    rest = (1.0 - q).clamp_(min=1e-30)
    power = rest ** (gamma - 1.0)
    factor = rest.mul_(power).mul_(valid).neg_()
    torch.addcmul(factor, power.mul_(q), log_q, value=gamma, out=piece.a)
    sums.p.add_(p.sum(1))
    target = piece.target.long()
    for values, of_class in ((factor.mul_(log_q), sums.focal), (q, sums.intersections), (valid, sums.voxels)):
        _add_by_class(values, target, of_class)


def _add_by_class(values: torch.Tensor, target: torch.Tensor, sums: torch.Tensor) -> None:
    """Add to the float64 sums (C,) the values (P,) whose target is the class.

    On a GPU all voxels would add to the same few numbers in turn, so that each class has a sum of its own there.
    """
    if values.device.type == "cpu":
        sums.scatter_add_(0, target, values.double())
    else:
        sums += _class_by_class(values, target, len(sums))


def _class_by_class(values: torch.Tensor, target: torch.Tensor, classes: int) -> torch.Tensor:
    """Return the float64 sum (C,) of the values of each class, without adding into shared places."""
    return torch.stack([(values * (target == index)).sum(dtype=torch.float64) for index in range(classes)])


def _jaccard_terms(sums: _Sums, min_voxels: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return, in float64, the Jaccard loss (N,), and A and B (N, C), see ``_ImageLosses``."""
    unions = sums.p + sums.voxels - sums.intersections + JACCARD_EPS
    ratios = (sums.intersections + JACCARD_EPS) / unions
    counted = sums.voxels > min_voxels
    counted[:, 0] = False
    share = counted.double() / counted.sum(1, keepdim=True).clamp(min=1)
    by_sum = share * ratios / unions
    return (share * (1.0 - ratios)).sum(1), by_sum, -by_sum - share / unions
