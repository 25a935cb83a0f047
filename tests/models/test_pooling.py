"""Pooling in the plane beside PyTorch's own in 3D."""

import pytest
import torch
from torch import nn

from spine_models.models.csn import CsnBackbone, CsnSettings
from spine_models.models.pooling import PlaneMaxPool


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_equals_the_pooling_in_3d_bit_for_bit_with_ties(layout, kind):
    # Few values, so that most windows hold their maximum more than once.
    image = torch.randint(0, 3, (2, 5, 3, 17, 18)).to(kind).contiguous(memory_format=layout)
    found = []
    for pool in (nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)), PlaneMaxPool(3, 2, 1)):
        values = image.clone().requires_grad_(True)
        output = pool(values)
        weights = torch.arange(output.numel()).view(output.shape).to(kind)
        output.backward(weights)
        found.append((output, values.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert found[1][0].is_contiguous(memory_format=layout)


def test_the_network_pools_in_the_plane_alone():
    kinds = [type(part) for part in CsnBackbone(CsnSettings("ir", 50, 4)).modules()]
    assert nn.MaxPool3d not in kinds
    assert kinds.count(PlaneMaxPool) == 1
