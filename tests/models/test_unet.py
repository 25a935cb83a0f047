"""The segmentation network: every convolution of its decoder, its skips, its sizes."""

import math

import pytest
import torch
from torch import nn

from spine_models.models.batch_norm import batch_norms
from spine_models.models.losses import LossSettings, segmentation_loss
from spine_models.models.unet import CsnUNet, UNetSettings, enlarge

NARROW = UNetSettings(base_channels=8, decoder_channels=(16, 12, 8, 8, 4))


def convolutions(module: nn.Module) -> list[tuple[int, int, tuple[int, ...], tuple[int, ...]]]:
    return [
        (part.in_channels, part.out_channels, part.kernel_size, part.padding)
        for part in module.modules()
        if isinstance(part, nn.Conv3d)
    ]


def block(channels: int, filters: int) -> list[tuple[int, int, tuple[int, ...], tuple[int, ...]]]:
    return [(channels, filters, (1, 3, 3), (0, 1, 1)), (filters, filters, (3, 1, 1), (1, 0, 0))]


def test_decoder_of_the_full_recipe_convolution_by_convolution():
    with torch.device("meta"):
        network = CsnUNet(UNetSettings())
    expected = [
        *block(2048, 256),
        *block(256 + 1024, 256),
        *block(256, 128),
        *block(128 + 512, 128),
        *block(128, 64),
        *block(64 + 256, 64),
        *block(64, 40),
        *block(40 + 64, 40),
    ]
    assert convolutions(network.decoder) == expected
    assert convolutions(network.last) == block(40, 32)
    assert convolutions(network.head) == [(32, 8, (1, 1, 1), (0, 0, 0))]
    assert [stage.scale for stage in network.decoder] == [(2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2)]


def test_decoder_has_no_normalisation_and_a_relu_after_each_convolution():
    network = CsnUNet(NARROW)
    kinds = {type(part).__name__ for part in network.decoder.modules()} | {
        type(part).__name__ for part in network.last.modules()
    }
    assert kinds == {"ModuleList", "DecoderStage", "FactorisedBlock", "PlaneConv3d", "AxialConv3d", "LastStage"}
    factorised = network.last.block
    for convolution in (factorised.plane, factorised.axial):
        nn.init.constant_(convolution.weight, -1.0)
    value = torch.ones(1, 8, 2, 4, 4)
    assert torch.equal(factorised(value), torch.zeros(1, 4, 2, 4, 4))
    nn.init.constant_(factorised.plane.weight, 1.0)
    nn.init.constant_(factorised.plane.bias, 1.0)
    assert torch.equal(factorised(value), torch.zeros(1, 4, 2, 4, 4))


def test_a_full_last_block_is_one_convolution_and_a_silu():
    network = CsnUNet(UNetSettings(base_channels=8, decoder_channels=(16, 12, 8, 8, 4), last_block="full"))
    assert convolutions(network.last) == [(8, 4, (3, 3, 3), (1, 1, 1))]
    nn.init.constant_(network.last.block.convolution.weight, 0.0)
    nn.init.constant_(network.last.block.convolution.bias, -1.0)
    value = network.last(torch.ones(1, 8, 2, 4, 4))
    assert value.shape == (1, 4, 2, 8, 8)
    torch.testing.assert_close(value, torch.full_like(value, -1 / (1 + math.e)))


def test_an_unknown_last_block_is_refused():
    with pytest.raises(ValueError, match=r"^last_block is one of factorised, full, not 'other'$"):
        UNetSettings(last_block="other")


@pytest.mark.parametrize("last_block", ["factorised", "full"])
def test_the_decoder_starts_from_kaimings_weights_without_bias(last_block):
    torch.manual_seed(0)
    network = CsnUNet(UNetSettings(base_channels=8, decoder_channels=(64, 64, 64, 64, 64), last_block=last_block))
    convolutions = [
        part for part in [*network.decoder.modules(), *network.last.modules()] if isinstance(part, nn.Conv3d)
    ]
    assert len(convolutions) == 16 + (2 if last_block == "factorised" else 1)
    for part in convolutions:
        fan_in = part.weight[0].numel()
        assert part.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
        assert (part.bias == 0).all()


def test_options_reach_the_encoder():
    network = CsnUNet(UNetSettings(101, 8, (16, 12, 8, 8, 4), 1e-5), freeze_bn=True, activation_checkpointing=True)
    norms = list(batch_norms(network))
    assert len(network.backbone.layer3) == 23
    assert {norm.eps for norm in norms} == {1e-5}
    assert not any(norm.training or norm.weight.requires_grad for norm in norms)
    assert network.backbone.activation_checkpointing
    plain = CsnUNet(NARROW)
    assert plain.training and all(norm.training and norm.eps == 1e-3 for norm in batch_norms(plain))
    assert not plain.backbone.activation_checkpointing


def test_the_published_network_is_the_default():
    assert UNetSettings() == UNetSettings(50, 64, (256, 128, 64, 40, 32), 1e-3, "factorised")


@pytest.mark.parametrize(("checkpointing", "training", "runs"), [(True, True, 2), (True, False, 1), (False, True, 1)])
def test_checkpointing_runs_each_unit_again_in_the_backward_pass_of_a_training(checkpointing, training, runs):
    network = CsnUNet(NARROW, activation_checkpointing=checkpointing).train(training)
    units = network.units()
    assert units == [*network.backbone.units(), *network.decoder, network.last]
    assert network.watched() == units[-5:]
    seen = []
    for number, unit in enumerate(units):
        unit.register_forward_pre_hook(lambda *_, number=number: seen.append(number))
    network(torch.randn(1, 1, 16, 32, 32)).sum().backward()
    assert seen[: len(units)] == list(range(len(units)))
    assert sorted(seen) == sorted(list(range(len(units))) * runs)


def test_a_folded_network_computes_the_same_without_batch_norm():
    torch.manual_seed(0)
    network = CsnUNet(NARROW)
    for norm in batch_norms(network):
        norm.running_var.uniform_(0.5, 1.5)
    image = torch.randn(1, 1, 8, 32, 32)
    folded = network.eval().folded()
    assert list(batch_norms(folded)) == []
    with torch.no_grad():
        torch.testing.assert_close(folded(image), network(image), rtol=1e-3, atol=1e-3)


def test_published_weights_are_those_of_the_encoder(tmp_path):
    torch.manual_seed(0)
    source, network = CsnUNet(NARROW), CsnUNet(NARROW)
    decoder = {name: values.clone() for name, values in network.decoder.state_dict().items()}
    state = source.backbone.state_dict()
    torch.save({"state_dict": {f"backbone.{name}": values for name, values in state.items()}}, tmp_path / "it.pth")
    report = network.load_published(tmp_path / "it.pth")
    assert set(report.loaded) == set(state)
    assert all(torch.equal(values, state[name]) for name, values in network.backbone.state_dict().items())
    assert all(torch.equal(values, decoder[name]) for name, values in network.decoder.state_dict().items())


@pytest.mark.parametrize("shape", [(8, 32, 32), (16, 64, 32), (24, 32, 96)])
def test_logits_have_the_size_of_the_image(shape):
    network = CsnUNet(NARROW).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 1, *shape)).shape == (1, 8, *shape)


@pytest.mark.parametrize(
    "shape", [(1, 1, 12, 32, 32), (1, 1, 8, 48, 32), (1, 1, 8, 32, 40), (1, 3, 8, 32, 32), (8, 32, 32)]
)
def test_an_image_that_does_not_fit_is_refused_in_a_sentence(shape):
    with pytest.raises(ValueError, match=r"multiple of 8 .* multiples of 32"):
        CsnUNet(NARROW)(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(0, 1, 8, 32, 32), (1, 1, 0, 32, 32), (1, 1, 8, 32, 0)])
def test_an_image_without_voxels_is_refused(shape):
    with pytest.raises(ValueError, match="pad the image or change its window or size"):
        CsnUNet(NARROW)(torch.zeros(shape))


def test_a_decoder_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"^decoder_channels needs 5 numbers, not \(8, 8, 8, 8\)$"):
        UNetSettings(decoder_channels=(8, 8, 8, 8))


@pytest.mark.parametrize("stage", range(4))
def test_every_skip_is_used(stage):
    network = CsnUNet(NARROW).eval()
    image = torch.randn(1, 1, 8, 32, 32)
    with torch.no_grad():
        before = network(image)
        after = network.decoder[stage].after.plane
        after.weight[:, network.settings.decoder_channels[stage] :] = 0.0
        assert not torch.allclose(before, network(image))


@pytest.mark.parametrize("stage", range(4))
def test_the_decoders_channels_come_before_the_skips(stage):
    """Published weights fit this order alone."""
    part = CsnUNet(NARROW).decoder[stage]
    seen = []
    part.after.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].clone()))
    channels, filters = part.before.plane.in_channels, part.before.axial.out_channels
    value = torch.randn(1, channels, 2, 4, 4)
    large = enlarge(value, part.scale)
    skip = torch.randn(1, part.after.plane.in_channels - filters, *large.shape[2:])
    with torch.no_grad():
        part(value, skip)
        assert torch.equal(seen[0][:, :filters], part.before(large))
    assert torch.equal(seen[0][:, filters:], skip)


def test_the_last_skip_is_the_stem():
    network = CsnUNet(NARROW).eval()
    seen = []
    network.decoder[3].register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[1]))
    image = torch.randn(1, 1, 8, 32, 32)
    with torch.no_grad():
        network(image)
        assert torch.equal(seen[0], network.backbone.conv1(image.expand(-1, 3, -1, -1, -1)))


def test_grey_is_repeated_to_three_channels():
    network = CsnUNet(NARROW).eval()
    image = torch.randn(1, 1, 8, 32, 32)
    weight = network.backbone.conv1.conv.weight
    assert weight.shape[1] == 3
    with torch.no_grad():
        before = network(image)
        weight.copy_(weight.sum(1, keepdim=True).expand_as(weight) / 3)
        torch.testing.assert_close(network(image), before, rtol=1e-3, atol=1e-4)


def test_upsampling_repeats_voxels():
    value = torch.arange(4.0).reshape(1, 1, 1, 2, 2)
    assert enlarge(value, (2, 2, 2))[0, 0].tolist() == [[[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]] * 2
    assert enlarge(value, (1, 2, 2)).shape == (1, 1, 1, 4, 4)


def test_half_precision_ends_at_the_logits():
    network = CsnUNet(NARROW).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert network(torch.zeros(1, 1, 8, 32, 32)).dtype == torch.float32


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def test_a_training_step_is_deterministic(deterministic):
    gradients = []
    for _ in range(2):
        torch.manual_seed(0)
        network = CsnUNet(NARROW).to(memory_format=torch.channels_last_3d)
        image = torch.randn(2, 1, 8, 32, 32)
        labels = torch.randint(0, 8, (2, 8, 32, 32), dtype=torch.uint8)
        segmentation_loss(network(image), labels, LossSettings()).total.backward()
        gradients.append([p.grad for p in network.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
    assert all(gradient.isfinite().all() and gradient.abs().sum() > 0 for gradient in gradients[0])


def test_an_untrained_network_starts_from_rare_vertebrae():
    head = CsnUNet(UNetSettings(50, 8, (16, 8, 8, 8, 512))).head
    # The same odds for every vertebra, 5 in 100 for all together.
    torch.testing.assert_close(head.bias.softmax(0), torch.tensor([0.95] + [0.05 / 7] * 7))
    assert (head.bias[1:] == 0).all()
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.05)
    torch.manual_seed(0)
    network = CsnUNet(UNetSettings(50, 8, (16, 8, 8, 8, 8))).eval()
    with torch.no_grad():
        background = network(torch.randn(1, 1, 8, 32, 32)).softmax(1)[:, 0]
    assert background.mean().item() == pytest.approx(0.95, abs=0.02)
