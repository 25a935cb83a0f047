"""Activation checkpointing: the same gradients and statistics as without, with fewer tensors kept."""

import copy

import torch
from torch import nn

from spine_models.models.classifier import ClassifierSettings, CsnClassifier
from spine_models.models.recompute import run_checkpointed
from spine_models.models.unet import CsnUNet, UNetSettings


def a_run(model: nn.Module, image: torch.Tensor) -> tuple[torch.Tensor, dict, dict, int]:
    kept = 0

    def pack(tensor):
        nonlocal kept
        kept += tensor.numel()
        return tensor

    torch.manual_seed(0)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(image)
    output.square().mean().backward()
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    return output.detach(), grads, dict(model.named_buffers()), kept


def assert_equal_runs(plain: nn.Module, checkpointed: nn.Module, image: torch.Tensor) -> None:
    checkpointed.load_state_dict(plain.state_dict())
    output, grads, buffers, kept = a_run(plain, image)
    other_output, other_grads, other_buffers, other_kept = a_run(checkpointed, image)
    assert torch.equal(output, other_output)
    assert all(torch.equal(grads[name], other_grads[name]) for name in grads)
    assert all(torch.equal(buffers[name], other_buffers[name]) for name in buffers)
    assert {int(value) for name, value in other_buffers.items() if name.endswith("num_batches_tracked")} == {1}
    assert other_kept < kept / 3


def test_unet_gradients_and_statistics_are_equal_bit_for_bit():
    settings = UNetSettings(base_channels=8, decoder_channels=(16, 8, 8, 8, 8))
    image = torch.randn(2, 1, 8, 32, 32)
    assert_equal_runs(CsnUNet(settings), CsnUNet(settings, activation_checkpointing=True), image)


def test_classifier_gradients_and_statistics_are_equal_bit_for_bit():
    settings = ClassifierSettings("ip", 50, 8)
    image = torch.randn(2, 3, 8, 32, 32)
    assert_equal_runs(CsnClassifier(settings), CsnClassifier(settings, activation_checkpointing=True), image)


def test_statistics_are_updated_by_the_first_pass_alone():
    norm = nn.BatchNorm3d(4)
    value = torch.randn(2, 4, 3, 3, 3) + 5
    run_checkpointed(norm, value).square().sum().backward()
    once = copy.deepcopy(nn.BatchNorm3d(4))
    once(value)
    assert torch.equal(norm.running_mean, once.running_mean)
    assert torch.equal(norm.running_var, once.running_var)
    assert int(norm.num_batches_tracked) == 1


def test_no_recomputation_in_evaluation():
    settings = UNetSettings(base_channels=8, decoder_channels=(8, 8, 8, 8, 8))
    plain = CsnUNet(settings).eval()
    checkpointed = CsnUNet(settings, activation_checkpointing=True).eval()
    checkpointed.load_state_dict(plain.state_dict())
    image = torch.randn(1, 1, 8, 32, 32)
    with torch.no_grad():
        assert torch.equal(plain(image), checkpointed(image))
