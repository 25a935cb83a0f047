"""Model files: rebuilt from the file alone, equal bytes for equal content, sentences for anything else."""

import json

import pytest
import torch
from safetensors.torch import save_file

from spine_models.errors import UserError
from spine_models.models.classifier import ClassifierSettings, CsnClassifier
from spine_models.models.unet import CsnUNet, UNetSettings
from spine_models.models.weights import describe, load_model, load_state, save_model, save_state

UNET = UNetSettings(base_channels=8, decoder_channels=(8, 8, 8, 8, 4), batch_norm_eps=1e-4)
CLASSIFIER = ClassifierSettings("ip", 50, 8, 0.25)
SETTINGS = {**vars(UNET), "decoder_channels": [8, 8, 8, 8, 4]}
PROVENANCE = {"seed": 3, "inputs": {"b": "2", "a": "1"}, "text": "Würfel"}


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = CsnUNet(UNET)
    save_model(tmp_path / "model.safetensors", model, PROVENANCE)
    return model, tmp_path / "model.safetensors"


def test_a_segmentation_network_is_rebuilt_from_its_file(saved):
    model, path = saved
    loaded, provenance = load_model(path, "segmentation")
    assert isinstance(loaded, CsnUNet)
    assert loaded.settings == UNET
    assert provenance == PROVENANCE
    assert not loaded.training
    image = torch.randn(1, 1, 8, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(image), model.eval()(image))


def test_a_classifier_is_rebuilt_from_its_file(tmp_path):
    model = CsnClassifier(CLASSIFIER, freeze_bn=True, activation_checkpointing=True).eval()
    save_model(tmp_path / "m.safetensors", model, {})
    loaded, _ = load_model(tmp_path / "m.safetensors", "classification")
    assert isinstance(loaded, CsnClassifier)
    assert loaded.settings == CLASSIFIER
    crops = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(crops), model(crops))
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_loading_leaves_the_random_state_alone(saved):
    before = torch.random.get_rng_state()
    load_model(saved[1], "segmentation")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_equal_content_gives_equal_bytes(saved, tmp_path):
    model, path = saved
    other = CsnUNet(UNET, activation_checkpointing=True).to(memory_format=torch.channels_last_3d)
    other.load_state_dict(model.state_dict())
    reordered = dict(reversed(PROVENANCE.items())) | {"inputs": {"a": "1", "b": "2"}}
    save_model(tmp_path / "other.safetensors", other, reordered)
    assert (tmp_path / "other.safetensors").read_bytes() == path.read_bytes()
    loaded, provenance = load_model(path, "segmentation")
    save_model(tmp_path / "again.safetensors", loaded, provenance)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_one_metadata_key_of_sorted_json(saved):
    raw = saved[1].read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    (text,) = header["__metadata__"].values()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    assert json.loads(text)["settings"]["decoder_channels"] == [8, 8, 8, 8, 4]


def test_a_failed_save_leaves_the_earlier_file(saved):
    model, path = saved
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_model(path, model, {"not JSON": object()})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_model(tmp_path / "none.safetensors", "segmentation")


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\0\0\0\0\0\0\0{broken}"])
def test_a_damaged_file(tmp_path, content):
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        load_model(tmp_path / "m.safetensors", "segmentation")


def test_a_truncated_file(saved):
    path = saved[1]
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match="damaged"):
        load_model(path, "segmentation")


@pytest.mark.parametrize("metadata", [None, {"other": "1"}, {"spine_models": "no JSON"}, {"spine_models": "[1]"}])
def test_a_foreign_file(tmp_path, metadata):
    save_file({"w": torch.zeros(2)}, tmp_path / "m.safetensors", metadata=metadata)
    with pytest.raises(UserError, match="not written by this pipeline"):
        load_model(tmp_path / "m.safetensors", "segmentation")


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {}},
        {"settings": None},
        {"settings": {"depth": 50, "unknown": 1}},
        {"settings": {"base_channels": 16}},
        {"settings": SETTINGS | {"base_channels": 1 << 31}},
        {"settings": SETTINGS | {"batch_norm_eps": 1e39}},
        {"settings": SETTINGS | {"batch_norm_eps": -1}},
        {"settings": SETTINGS | {"last_block": ["full"]}},
    ],
)
def test_a_description_that_does_not_fit(tmp_path, saved, change):
    state, description = load_state(saved[1])
    save_state(tmp_path / "m.safetensors", state, description | change)
    with pytest.raises(UserError, match="does not fit"):
        load_model(tmp_path / "m.safetensors", "segmentation")


@pytest.mark.parametrize("kind", ["csn", "other", None])
def test_a_network_of_another_stage(tmp_path, saved, kind):
    state, description = load_state(saved[1])
    save_state(tmp_path / "m.safetensors", state, description | {"kind": kind})
    with pytest.raises(UserError, match=rf"the kind {kind}, which is not one of segmentation"):
        load_model(tmp_path / "m.safetensors", "segmentation")


def test_settings_do_not_choose_the_kind(tmp_path, saved):
    state, description = load_state(saved[1])
    save_state(tmp_path / "m.safetensors", state, description | {"settings": {**vars(UNET), "kind": "csn"}})
    assert load_model(tmp_path / "m.safetensors", "segmentation")[0].settings == UNET


def test_a_classifier_of_release_0_1(tmp_path):
    model = CsnClassifier(CLASSIFIER)
    settings = {"variant": "ip", "depth": 50, "base_channels": 8, "dropout": 0.25}
    description = {"kind": "csn_classifier", "settings": settings, "provenance": PROVENANCE}
    save_state(tmp_path / "m.safetensors", model.state_dict(), description)
    loaded, provenance = load_model(tmp_path / "m.safetensors", "classification")
    assert loaded.settings == CLASSIFIER
    assert provenance == PROVENANCE
    save_model(tmp_path / "again.safetensors", loaded, provenance)
    assert load_state(tmp_path / "again.safetensors")[1]["kind"] == "csn"


@pytest.mark.parametrize("drop", [True, False])
def test_a_missing_or_additional_tensor(tmp_path, saved, drop):
    state, description = load_state(saved[1])
    if drop:
        del state["head.bias"]
    else:
        state["more"] = torch.zeros(1)
    save_state(tmp_path / "m.safetensors", state, description)
    with pytest.raises(UserError, match="does not fit"):
        load_model(tmp_path / "m.safetensors", "segmentation")


def test_describe_is_what_a_file_says(saved):
    model, path = saved
    assert load_state(path)[1] == json.loads(json.dumps(describe(model, PROVENANCE)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite(tmp_path, saved, value):
    state, description = load_state(saved[1])
    state["head.bias"][3] = value
    save_state(tmp_path / "m.safetensors", state, description)
    with pytest.raises(UserError, match=r"not finite \(head.bias\)"):
        load_model(tmp_path / "m.safetensors", "segmentation")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int32])
def test_numbers_of_another_type(tmp_path, saved, dtype):
    state, description = load_state(saved[1])
    state["head.bias"] = state["head.bias"].to(dtype)
    save_state(tmp_path / "m.safetensors", state, description)
    with pytest.raises(UserError, match=r"head.bias holds torch"):
        load_model(tmp_path / "m.safetensors", "segmentation")


@pytest.mark.parametrize("shape", [(1,), (0,), (2, 2)])
def test_a_count_that_is_no_single_number(tmp_path, saved, shape):
    """Torch takes the first number of a list in the place of one number, and fails where there is none."""
    state, description = load_state(saved[1])
    name = next(name for name, tensor in state.items() if tensor.ndim == 0)
    state[name] = torch.zeros(shape, dtype=state[name].dtype)
    save_state(tmp_path / "m.safetensors", state, description)
    with pytest.raises(UserError, match="has the shape"):
        load_model(tmp_path / "m.safetensors", "segmentation")


@pytest.mark.parametrize("length", [1 << 63, 99 << 20])
def test_a_header_longer_than_the_file_or_than_any_header(tmp_path, length):
    with (tmp_path / "m.safetensors").open("wb") as stream:
        stream.write(length.to_bytes(8, "little"))
        stream.truncate(200 << 20)
    with pytest.raises(UserError, match=f"claims a header of {length} bytes"):
        load_state(tmp_path / "m.safetensors")
