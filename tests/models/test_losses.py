"""The segmentation loss against a float64 implementation that follows the formulas voxel by voxel."""

import pytest
import torch

from spine_models.models import losses
from spine_models.models.losses import LossSettings, SegmentationLoss, segmentation_loss


def naive_image(
    logits: torch.Tensor, labels: torch.Tensor, settings: LossSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Focal and Jaccard of one image, by one-hot targets and loops."""
    valid = labels != 255
    p = torch.softmax(logits.double(), 0)[:, valid]
    target = labels[valid].long()
    zero = p.sum() * 0.0
    p_target = torch.stack([p[c] for c in range(8)])[target, torch.arange(len(target))]
    focal = -(((1 - p_target) ** settings.focal_gamma) * torch.log(p_target))
    losses = []
    for c in range(1, 8):
        t = (target == c).double()
        if t.sum() > settings.min_voxels:
            intersection = (p[c] * t).sum()
            union = p[c].sum() + t.sum() - intersection
            losses.append(1 - (intersection + 1e-4) / (union + 1e-4))
    return focal.mean() if len(target) else zero, torch.stack(losses).mean() if losses else zero


def naive(logits: torch.Tensor, labels: torch.Tensor, settings: LossSettings) -> torch.Tensor:
    images = [naive_image(one, label, settings) for one, label in zip(logits, labels, strict=True)]
    return sum(focal + settings.jaccard_weight * jaccard for focal, jaccard in images) / len(images)


def a_batch(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """Six images: all classes; some ignored; no counted class; nothing but ignored voxels; one class; one voxel."""
    torch.manual_seed(3)
    logits = torch.randn(6, 8, 6, 16, 16, dtype=dtype) * 3
    labels = torch.randint(0, 8, (6, 6, 16, 16), dtype=torch.uint8)
    labels[1, :2] = 255
    labels[2] = 0
    labels[2, 0, 0, :16] = 4
    labels[3] = 255
    labels[4] = torch.where(labels[4] == 6, 6, 0)
    labels[5] = 255
    labels[5, 0, 0, 0] = 2
    return logits.requires_grad_(), labels


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.0])
def test_value_and_gradient_equal_the_naive_ones_in_float64(gamma):
    settings = LossSettings(gamma, 0.3, 16)
    logits, labels = a_batch(torch.float64)
    loss = segmentation_loss(logits, labels, settings).total
    (gradient,) = torch.autograd.grad(loss, logits)
    expected = naive(logits, labels, settings)
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_value_and_gradient_in_lower_precision(dtype):
    logits, labels = a_batch()
    logits = logits.detach().to(dtype).requires_grad_()
    loss = segmentation_loss(logits, labels, LossSettings())
    (gradient,) = torch.autograd.grad(loss.total, logits)
    expected = naive(logits, labels, LossSettings())
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    assert loss.total.dtype == torch.float32
    assert gradient.dtype == dtype
    torch.testing.assert_close(loss.total.double(), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4 if dtype == torch.float32 else 2e-2, atol=1e-9)


def test_published_settings_are_the_default():
    assert LossSettings() == LossSettings(focal_gamma=2.0, jaccard_weight=0.1, min_voxels=16)


def test_parts_add_up():
    loss = segmentation_loss(*a_batch(), LossSettings())
    torch.testing.assert_close(loss.total, loss.focal + 0.1 * loss.jaccard)


def test_a_large_image_keeps_its_digits_in_float32():
    """A million voxels of one class added one after the other in float32 would be off in the fourth digit."""
    torch.manual_seed(0)
    logits = torch.randn(1, 8, 16, 256, 256)
    labels = torch.full((1, 16, 256, 256), 3, dtype=torch.uint8)
    loss = segmentation_loss(logits, labels, LossSettings()).jaccard.double()
    _, expected = naive_image(logits[0], labels[0], LossSettings())
    torch.testing.assert_close(loss, expected, rtol=2e-7, atol=0)


@pytest.mark.parametrize(("voxels", "counted"), [(16, False), (17, True)])
def test_a_class_needs_more_than_sixteen_voxels(voxels, counted):
    labels = torch.zeros(1, 2, 8, 8, dtype=torch.uint8)
    labels.view(-1)[:voxels] = 5
    loss = segmentation_loss(torch.zeros(1, 8, 2, 8, 8), labels, LossSettings())
    share = voxels / 8
    expected = 1 - (share + 1e-4) / (128 / 8 + voxels - share + 1e-4)
    assert loss.jaccard.item() == (pytest.approx(expected, rel=1e-6) if counted else 0.0)


def test_an_image_without_counted_classes_counts_in_the_mean():
    logits, labels = a_batch()
    with_classes = segmentation_loss(logits[:1], labels[:1], LossSettings())
    both = segmentation_loss(logits[[0, 2]], labels[[0, 2]], LossSettings())
    torch.testing.assert_close(both.jaccard, with_classes.jaccard / 2)


def test_accumulating_images_equals_one_batch():
    logits, labels = a_batch(torch.float64)
    (together,) = torch.autograd.grad(segmentation_loss(logits, labels, LossSettings()).total, logits)
    for i in range(len(logits)):
        (segmentation_loss(logits[i : i + 1], labels[i : i + 1], LossSettings()).total / len(logits)).backward()
    torch.testing.assert_close(logits.grad, together, rtol=1e-12, atol=1e-16)


def test_ignored_voxels_change_nothing():
    logits, labels = a_batch()
    changed = logits.detach().clone()
    changed[1, :, :2] = torch.randn_like(changed[1, :, :2]) * 50
    changed.requires_grad_()
    before, after = (segmentation_loss(x, labels, LossSettings()).total for x in (logits, changed))
    assert before.item() == after.item()
    (gradient,) = torch.autograd.grad(after, changed)
    assert not gradient[1, :, :2].any()
    assert not gradient[3].any()


@pytest.mark.parametrize("scale", [0.0, 1e2, 1e4])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradients_stay_finite_where_probabilities_reach_zero_and_one(scale, gamma):
    torch.manual_seed(0)
    logits = (torch.randn(1, 8, 4, 16, 16) * scale).requires_grad_()
    labels = torch.randint(0, 8, (1, 4, 16, 16), dtype=torch.uint8)
    loss = segmentation_loss(logits, labels, LossSettings(focal_gamma=gamma)).total
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_a_perfect_prediction_costs_next_to_nothing():
    labels = torch.randint(0, 8, (1, 4, 16, 16), generator=torch.Generator().manual_seed(0))
    logits = 50.0 * torch.nn.functional.one_hot(labels, 8).movedim(-1, 1)
    assert segmentation_loss(logits, labels, LossSettings()).total.item() < 1e-6


def test_autocast_does_not_reach_the_loss():
    logits, labels = a_batch()
    plain = segmentation_loss(logits, labels, LossSettings()).total
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(segmentation_loss(logits, labels, LossSettings()).total, plain)


def test_autocast_does_not_reach_the_backward_pass():
    logits, labels = a_batch()
    (plain,) = torch.autograd.grad(segmentation_loss(logits, labels, LossSettings()).total, logits)
    with torch.autocast("cpu", torch.bfloat16):
        (gradient,) = torch.autograd.grad(segmentation_loss(logits, labels, LossSettings()).total, logits)
    assert torch.equal(gradient, plain)


@pytest.mark.parametrize("voxels", [1, 7, 100, 768, 1535])
def test_pieces_of_any_size_give_one_result(voxels, monkeypatch):
    logits, labels = a_batch(torch.float64)
    whole = segmentation_loss(logits, labels, LossSettings())
    (gradient,) = torch.autograd.grad(whole.total, logits)
    monkeypatch.setattr(losses, "PIECE_VOXELS", voxels)
    in_pieces = segmentation_loss(logits, labels, LossSettings())
    (gradient_in_pieces,) = torch.autograd.grad(in_pieces.total, logits)
    for one, other in zip(in_pieces, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient_in_pieces, gradient, rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize("shape", [(1, 8, 1, 1, 1), (2, 8, 3, 5, 7), (1, 8, 70, 32, 33)])
@pytest.mark.parametrize("kind", [torch.uint8, torch.int32, torch.int64])
def test_any_shape_layout_and_type_of_labels(shape, kind):
    """The largest has more voxels than a piece, and a last piece of another size."""
    torch.manual_seed(1)
    logits = torch.randn(shape, dtype=torch.float64).to(memory_format=torch.channels_last_3d).requires_grad_()
    labels = torch.randint(0, 8, (shape[0], *shape[2:])).to(kind)
    labels[:, :, :, -1:] = 255
    loss, expected = segmentation_loss(logits, labels, LossSettings()).total, naive(logits, labels, LossSettings())
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(value, logits)[0] for value in (loss, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_runs_are_equal_in_every_bit_whatever_the_number_of_threads(threads):
    torch.manual_seed(2)
    logits, labels = torch.randn(1, 8, 9, 128, 128), torch.randint(0, 8, (1, 9, 128, 128), dtype=torch.uint8)
    logits.requires_grad_()
    before, results = torch.get_num_threads(), []
    try:
        for number in (1, threads):
            torch.set_num_threads(number)
            loss = segmentation_loss(logits, labels, LossSettings())
            results.append((*loss, torch.autograd.grad(loss.total, logits)[0]))
    finally:
        torch.set_num_threads(before)
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("retain_graph", [True, False])
def test_a_second_backward_pass_says_what_to_do(retain_graph):
    logits, labels = a_batch()
    loss = segmentation_loss(logits, labels, LossSettings())
    torch.autograd.grad(loss.focal, logits, retain_graph=True)
    with pytest.raises(RuntimeError, match="call segmentation_loss again for another backward pass"):
        torch.autograd.grad(loss.jaccard, logits, retain_graph=retain_graph)


def test_each_part_has_its_own_gradient():
    logits, labels = a_batch(torch.float64)
    parts = [
        torch.autograd.grad(getattr(segmentation_loss(logits, labels, LossSettings()), name), logits)[0]
        for name in SegmentationLoss._fields
    ]
    torch.testing.assert_close(parts[0], parts[1] + 0.1 * parts[2], rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize("label", [8, 9, 200])
@pytest.mark.parametrize("place", [0, -1])
def test_a_label_that_is_no_class_is_refused(label, place):
    logits, labels = a_batch()
    labels.view(-1)[place] = label
    with pytest.raises((IndexError, RuntimeError), match="out of range"):
        segmentation_loss(logits, labels, LossSettings())


def test_sums_class_by_class_are_those_of_adding_voxel_by_voxel():
    torch.manual_seed(0)
    target, values = torch.randint(0, 8, (50000,)), torch.rand(50000)
    added = torch.zeros(8, dtype=torch.float64)
    losses._add_by_class(values, target, added)
    torch.testing.assert_close(losses._class_by_class(values, target, 8), added, rtol=1e-12, atol=0)
