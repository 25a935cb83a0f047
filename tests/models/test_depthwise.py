"""Depthwise convolutions: which are taken, plain ones without a GPU, and the kernels in Triton's interpreter."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from spine_models.models.convolutions import use_plain
from spine_models.models.csn import CsnBackbone, CsnSettings
from spine_models.models.depthwise import DepthwiseConv3d, use_depthwise

ROOT = Path(__file__).resolve().parents[2]


def test_only_plain_depthwise_convolutions_are_taken():
    others = [
        nn.Conv3d(4, 4, 3, padding=1),
        nn.Conv3d(4, 8, 3, padding=1, groups=4),
        nn.Conv3d(4, 4, 3, groups=4),
        nn.Conv3d(4, 4, 3, (1, 2, 2), padding=1, groups=4),
        nn.Conv3d(4, 4, 3, padding=1, dilation=(1, 1, 2), groups=4),
        nn.Conv3d(4, 4, 3, padding=1, groups=4, padding_mode="circular"),
        nn.Conv3d(4, 4, 1, groups=4),
    ]
    taken = [nn.Conv3d(4, 4, 3, stride, padding=1, groups=4) for stride in (1, 2)]
    weights = [part.weight for part in taken]
    use_depthwise(nn.ModuleList([*others, *taken]))
    assert not any(isinstance(part, DepthwiseConv3d) for part in others)
    assert all(isinstance(part, DepthwiseConv3d) for part in taken)
    assert all(part.weight is weight for part, weight in zip(taken, weights, strict=True))


def test_without_a_gpu_it_is_a_plain_convolution():
    image = torch.randn(2, 4, 5, 6, 7)
    own = DepthwiseConv3d(4, 4, 3, 2, 1, groups=4)
    assert torch.equal(own(image), nn.Conv3d.forward(own, image))


@pytest.mark.parametrize("mode", ["ir", "ip"])
def test_each_block_of_the_network_has_one(mode):
    network = CsnBackbone(CsnSettings(mode, 50, 8))
    assert sum(isinstance(part, DepthwiseConv3d) for part in network.modules()) == 16
    use_plain(network)
    assert not any(isinstance(part, DepthwiseConv3d) for part in network.modules())


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed: CPU builds of torch")
def test_the_kernels_in_tritons_interpreter():
    script = Path(__file__).with_name("interpreted_depthwise.py")
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("as in float64") == 4
