"""Images and kernels are in the same order on each kind of device."""

import torch

from spine_models.compute.layout import arrange

CPU, META = torch.device("cpu"), torch.device("meta")


def test_images_and_kernels_are_channels_last_on_the_cpu_and_keep_their_values():
    images, network = torch.randn(2, 3, 4, 5, 6), torch.nn.Conv3d(3, 4, 2)
    weight = network.weight.detach().clone()
    arranged = arrange(images, CPU)
    assert arranged.is_contiguous(memory_format=torch.channels_last_3d) and torch.equal(arranged, images)
    assert arrange(network, CPU) is network
    assert network.weight.is_contiguous(memory_format=torch.channels_last_3d) and torch.equal(network.weight, weight)


def test_other_devices_keep_the_plain_layout():
    assert arrange(torch.randn(2, 3, 4, 5, 6), META).is_contiguous()
    assert arrange(torch.nn.Conv3d(3, 4, 2), META).weight.is_contiguous()
