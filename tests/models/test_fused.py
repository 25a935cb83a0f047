"""Stem and blocks on the CPU without gradients: what the plain ones give, NaN included."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from spine_models.models.csn import CsnBackbone, CsnSettings, fold
from spine_models.models.fused import FusedBlock
from tests import tiny

SAME = ((0, 1), (2,))
LAYOUTS = [torch.contiguous_format, torch.channels_last_3d]


class Seen(TorchDispatchMode):
    """Notes the shape of the image that each of oneDNN's fused operators gets."""

    def __enter__(self):
        self.shapes = []
        return super().__enter__()

    def __torch_dispatch__(self, operator, types, arguments=(), named=None):
        if "convolution_pointwise" in str(operator):
            self.shapes.append(tuple(arguments[0].shape))
        return operator(*arguments, **(named or {}))


def a_clip(batch: int = 1, doubled: bool = True) -> torch.Tensor:
    clip = torch.randn(batch, 3, 8, 64, 48, generator=torch.Generator().manual_seed(0))
    if doubled:
        clip[:, 1] = clip[:, 0]
    return clip


def folded(mode: str, layout: torch.memory_format = torch.channels_last_3d) -> CsnBackbone:
    return fold(tiny.classifier(mode).backbone, SAME).to(memory_format=layout)


def plainly(network: nn.Module, clip: torch.Tensor):
    with torch.enable_grad():
        return network(clip)


@pytest.mark.parametrize("layout", LAYOUTS, ids=["plain", "channels last"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("doubled", [True, False])
@pytest.mark.parametrize("mode", ["ir", "ip"])
def test_every_feature_map_is_that_of_the_plain_blocks(mode, doubled, batch, layout):
    network, clip = folded(mode, layout), a_clip(batch, doubled).contiguous(memory_format=layout)
    before = clip.clone()
    with torch.no_grad(), Seen() as fused:
        features = network(clip)
    with Seen() as plain:
        expected = plainly(network, clip)
    assert len(fused.shapes) > 3 * 16 and not plain.shapes
    for ours, theirs in zip(features, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))
    assert torch.equal(clip, before)


@pytest.mark.parametrize(("doubled", "channels"), [(True, 2), (False, 3)])
def test_an_image_that_is_there_twice_goes_through_the_stem_once(doubled, channels):
    with torch.no_grad(), Seen() as seen:
        folded("ir")(a_clip(doubled=doubled))
    assert seen.shapes[0] == (1, channels, 8, 64, 48)


def test_with_gradients_under_autocast_and_in_other_types_nothing_is_fused():
    network = folded("ir")
    with Seen() as seen:
        network(a_clip())
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            network(a_clip())
        with torch.no_grad():
            network.double()(a_clip().double())
    assert seen.shapes == []


def test_nan_in_an_image_reaches_what_it_reaches_in_the_plain_blocks():
    network, clip = folded("ip"), a_clip()
    clip[0, 2, 3, 20, 20] = float("nan")
    with torch.no_grad():
        features = network(clip)
    for ours, theirs in zip(features, plainly(network, clip), strict=True):
        assert theirs.isnan().any()
        assert torch.equal(ours.isnan(), theirs.isnan())


# One that is not a number, and one that is finite and makes others infinite.
@pytest.mark.parametrize("value", [float("nan"), 3e38])
@pytest.mark.parametrize("name", ["conv1", "conv2.0", "conv3", "downsample"])
@pytest.mark.parametrize("place", [("layer1", 0), ("layer3", 0), ("layer4", 0)])
def test_a_damaged_weight_is_not_rectified_away(place, name, value):
    backbone = tiny.classifier("ir").backbone
    layer, block = place
    with torch.no_grad():
        getattr(backbone, layer)[block].get_submodule(name).conv.weight[0] = value
    network = fold(backbone, SAME)
    with torch.no_grad():
        ours = network(a_clip())[-1]
    assert not plainly(network, a_clip())[-1].isfinite().all()
    assert not ours.isfinite().all()


def test_a_block_of_finite_weights_falls_back_where_numbers_overflow():
    network = folded("ir")
    block = network.layer1[1]
    assert isinstance(block, FusedBlock)
    value = torch.full((1, 32, 2, 4, 4), 3e38)
    expected = plainly(block, value)
    with torch.no_grad():
        assert torch.equal(block(value.clone()).isfinite(), expected.isfinite())


def test_a_network_alone_is_folded_without_equal_channels():
    network = CsnBackbone(CsnSettings("ir", 50, 8)).eval()
    with torch.no_grad(), Seen() as seen:
        fold(network)(a_clip())
    assert seen.shapes[0][1] == 3
