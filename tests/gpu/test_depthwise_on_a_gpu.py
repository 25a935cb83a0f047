"""Triton's depthwise convolution on a real GPU, against PyTorch's in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from spine_models.models.csn import CsnBackbone, CsnSettings
from spine_models.models.depthwise import DepthwiseConv3d, _kernels
from spine_models.models.recompute import run_checkpointed

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that this torch can use")
BOUNDS = {torch.bfloat16: 1e-2, torch.float16: 2e-3, torch.float32: 1e-5}
SHAPES = [
    # Size (z, y, x) and stride of every depthwise convolution of a CSN on crops of (40, 256, 256).
    ((40, 64, 64), 1),
    ((40, 64, 64), 2),
    ((20, 32, 32), 1),
    ((20, 32, 32), 2),
    ((10, 16, 16), 1),
    ((10, 16, 16), 2),
    ((5, 8, 8), 1),
]
ODD = [((3, 5, 7), 1), ((3, 5, 7), 2), ((1, 1, 1), 2), ((70, 9, 65), 1), ((9, 3, 131), 2)]


@pytest.fixture(autouse=True)
def _triton_works() -> None:
    assert _kernels(0) is not None


def layers(stride: int, kind: torch.dtype) -> tuple[DepthwiseConv3d, nn.Conv3d]:
    torch.manual_seed(0)
    settings = {"groups": 6, "bias": False, "device": "cuda"}
    own = DepthwiseConv3d(6, 6, 3, stride, 1, dtype=kind, **settings)
    double = nn.Conv3d(6, 6, 3, stride, 1, dtype=torch.float64, **settings)
    double.load_state_dict(own.state_dict())
    return own, double


def results(layer: nn.Conv3d, image: torch.Tensor, gradient: torch.Tensor | None = None) -> list[torch.Tensor]:
    image = image.detach().requires_grad_(True)
    output = layer(image)
    gradient = torch.cos(torch.arange(output.numel(), device="cuda")).view_as(output) if gradient is None else gradient
    return [output.detach(), *torch.autograd.grad(output, [image, *layer.parameters()], gradient.to(output.dtype))]


@pytest.mark.parametrize("kind", BOUNDS, ids=str)
@pytest.mark.parametrize(("size", "stride"), [*SHAPES, *ODD])
def test_output_and_gradients_are_those_of_float64_and_the_same_bits_twice(size, stride, kind):
    own, double = layers(stride, kind)
    image = torch.randn(2, 6, *size, device="cuda", dtype=kind)
    found, again, exact = results(own, image), results(own, image), results(double, image.double())
    for one, other, reference in zip(found, again, exact, strict=True):
        assert torch.equal(one, other)
        assert one.dtype == kind
        assert one.shape == reference.shape
        assert float((one.double() - reference).norm() / reference.norm()) < BOUNDS[kind]


def test_the_kernels_compute_it_and_not_pytorch(monkeypatch):
    own, _ = layers(1, torch.float32)
    monkeypatch.setattr(nn.Conv3d, "forward", lambda self, image: pytest.fail("PyTorch computed it"))
    own(torch.randn(2, 6, 4, 8, 8, device="cuda"))


def test_autocast_computes_in_its_type_and_gradients_return_in_that_of_the_weights():
    own, _ = layers(1, torch.float32)
    image = torch.randn(2, 6, 4, 8, 8, device="cuda", requires_grad=True)
    with torch.autocast("cuda", torch.bfloat16):
        output = own(image)
    assert output.dtype == torch.bfloat16
    output.float().sum().backward()
    assert image.grad.dtype == own.weight.grad.dtype == torch.float32


def test_recomputed_activations_give_the_same_gradients():
    own, _ = layers(2, torch.float32)
    image = torch.randn(2, 6, 5, 8, 8, device="cuda", requires_grad=True)
    plain = torch.autograd.grad(own(image).square().sum(), [image, own.weight])
    kept = torch.autograd.grad(run_checkpointed(own, image).square().sum(), [image, own.weight])
    assert all(torch.equal(one, other) for one, other in zip(plain, kept, strict=True))


def test_inference_mode_and_other_layouts():
    own, double = layers(1, torch.float32)
    image = torch.randn(2, 6, 4, 8, 8, device="cuda")
    with torch.inference_mode():
        expected = double(image.double())
        for layout in (torch.contiguous_format, torch.channels_last_3d):
            torch.testing.assert_close(
                own(image.contiguous(memory_format=layout)).double(), expected, rtol=0, atol=1e-5
            )


def test_a_gradient_that_is_not_contiguous():
    own, double = layers(1, torch.float32)
    image = torch.randn(2, 6, 4, 8, 8, device="cuda")
    gradient = torch.randn(2, 6, 8, 8, 4, device="cuda").permute(0, 1, 4, 2, 3)
    for one, other in zip(results(own, image, gradient), results(double, image.double(), gradient), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", ["ir", "ip"])
def test_a_whole_network_trains_with_it(mode):
    network = CsnBackbone(CsnSettings(mode, 50, 8), activation_checkpointing=True).cuda()
    features = network(torch.randn(2, 3, 8, 32, 32, device="cuda"))
    sum(feature.mean() for feature in features).backward()
    assert all(bool(value.grad.isfinite().all()) for value in network.parameters() if value.grad is not None)
