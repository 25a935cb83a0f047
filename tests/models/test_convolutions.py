"""Convolutions computed another way on the CPU: the same values and gradients as Conv3d's own."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from spine_models.models.convolutions import AxialConv3d, PlaneConv3d, PointwiseConv3d, use_pointwise
from spine_models.models.csn import CsnBackbone, CsnSettings
from spine_models.models.depthwise import DepthwiseConv3d
from spine_models.models.unet import DecoderStage, FactorisedBlock, FullBlock, LastStage, enlarge

LAYOUTS = [torch.contiguous_format, torch.channels_last_3d]


@pytest.mark.parametrize("layout", LAYOUTS, ids=["plain", "channels last"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "convolution",
    [PointwiseConv3d(6, 5, 1), PointwiseConv3d(6, 5, 1, bias=False), AxialConv3d(6, 5)],
    ids=["pointwise", "without bias", "axial"],
)
def test_values_and_gradients_equal_those_of_a_plain_convolution(convolution, threads, layout):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        image = torch.randn(2, 6, 4, 5, 7, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
        convolution = convolution.double()
        results = []
        for forward in (convolution.forward, super(type(convolution), convolution).forward):
            output = forward(image)
            inputs = [image, *convolution.parameters()]
            results.append([output, *torch.autograd.grad(output.square().sum(), inputs)])
    finally:
        torch.set_num_threads(before)
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    assert results[0][0].shape == (2, 5, 4, 5, 7)


def strided_as(layout: torch.memory_format, tensor: torch.Tensor) -> bool:
    """Say whether every stride is the layout's, that of a batch of one too, which ``is_contiguous`` passes over."""
    return tensor.stride() == torch.empty(tensor.shape, device="meta").contiguous(memory_format=layout).stride()


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


# Of one image with fewer than 20,480 rows, PyTorch takes an old kernel that knows only the plain layout.
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    "module",
    [
        PointwiseConv3d(16, 8, 1),
        AxialConv3d(16, 8),
        PlaneConv3d(16, 8),
        DepthwiseConv3d(16, 16, 3, padding=1, groups=16),
        FactorisedBlock(16, 16),
        FullBlock(16, 8),
        DecoderStage(16, 16, 16, (1, 1, 1)),
        DecoderStage(16, 16, 16, (1, 2, 2)),
        LastStage(16, 16, "factorised"),
        LastStage(16, 16, "full"),
    ],
    ids=lambda module: type(module).__name__ if isinstance(module, nn.Module) else None,
)
def test_channels_last_stays_in_every_stride(module, batch, threads):
    layout = torch.channels_last_3d
    image = torch.randn(batch, 16, 16, 96, 8).contiguous(memory_format=layout)
    inputs = [image]
    if isinstance(module, DecoderStage):
        inputs.append(enlarge(image, module.scale))
    with torch.inference_mode():
        output = module.to(memory_format=layout)(*inputs)
    assert strided_as(layout, inputs[-1])
    assert strided_as(layout, output)


@pytest.mark.parametrize("layout", LAYOUTS, ids=["plain", "channels last"])
def test_slice_by_slice_a_plane_convolution_has_the_same_values_and_gradients(layout):
    image = torch.randn(2, 6, 4, 5, 7, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    convolution = PlaneConv3d(6, 5).double()
    results = []
    for forward in (convolution.by_slices, super(PlaneConv3d, convolution).forward):
        output = forward(image)
        inputs = [image, *convolution.parameters()]
        results.append([output, *torch.autograd.grad(output.square().sum(), inputs)])
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain)


def test_half_precision_on_a_gpu_alone_goes_slice_by_slice(monkeypatch):
    taken = []
    monkeypatch.setattr(PlaneConv3d, "by_slices", lambda self, image: taken.append(image.dtype) or image)
    monkeypatch.setattr(nn.Conv3d, "forward", lambda self, image: image)
    convolution = PlaneConv3d(1, 1)
    with FakeTensorMode():
        for kind in (torch.float32, torch.float16, torch.bfloat16):
            convolution(torch.empty(1, 1, 2, 2, 2, device="cuda", dtype=kind))
            convolution(torch.empty(1, 1, 2, 2, 2, dtype=kind))
        monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: device == "cuda")
        monkeypatch.setattr(torch, "get_autocast_dtype", lambda device: torch.bfloat16)
        convolution(torch.empty(1, 1, 2, 2, 2, device="cuda"))
    assert taken == [torch.float16, torch.bfloat16, torch.float32]


def test_only_plain_pointwise_convolutions_are_taken():
    module = nn.ModuleList(
        [nn.Conv3d(4, 4, 1), nn.Conv3d(4, 4, 1, stride=2), nn.Conv3d(4, 4, 1, groups=4), nn.Conv3d(4, 4, 3)]
    )
    weights = [part.weight for part in module]
    use_pointwise(module)
    assert [isinstance(part, PointwiseConv3d) for part in module] == [True, False, False, False]
    assert all(part.weight is weight for part, weight in zip(module, weights, strict=True))


def test_the_encoder_uses_them():
    network = CsnBackbone(CsnSettings("ip", 50, 8))
    # Three a block (conv1, conv2.0, conv3) and the first layer's shortcut; the other shortcuts have a stride.
    assert sum(isinstance(part, PointwiseConv3d) for part in network.modules()) == 3 * 16 + 1
