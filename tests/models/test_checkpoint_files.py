"""Checkpoints of others: plain values are read, code is not run, and differences of tensors are named."""

from pathlib import Path

import numpy as np
import pytest
import torch

from spine_models.errors import UserError
from spine_models.models.checkpoint_files import differences, read_checkpoint

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "c.pth"


def save(path: Path, **beside: object) -> Path:
    torch.save({"meta": {}, "state_dict": STATE, **beside}, path)
    return path


def assert_read(path: Path) -> None:
    state = read_checkpoint(path)
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in STATE.items())


def test_a_state_dict_under_its_key_or_alone(path):
    assert_read(save(path))
    torch.save(STATE, path)
    assert_read(path)


def test_numpy_numbers_beside_the_weights_are_harmless(path):
    numbers = {"a": np.float64(0.5), "b": np.float32(1), "c": np.int64(3), "d": np.bool_(True), "e": {"f": 1}}
    momentum = {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": [{"lr": np.float64(1)}]}
    assert_read(save(path, meta=numbers, optimizer=momentum))


def test_numpy_numbers_under_their_name_before_numpy_2(path):
    new, old = b"numpy._core.multiarray", b"numpy.core.multiarray"
    torch.save({"state_dict": STATE, "meta": np.float64(0.5)}, path, _use_new_zipfile_serialization=False)
    raw = path.read_bytes()
    assert new in raw
    path.write_bytes(raw.replace(new, old))
    assert_read(path)


def test_the_harmless_names_are_allowed_for_this_file_alone(path):
    before = set(torch.serialization.get_safe_globals())
    read_checkpoint(save(path))
    assert set(torch.serialization.get_safe_globals()) == before


class Harmful:
    """Would make a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_code_in_a_checkpoint_does_not_run(path, tmp_path):
    save(path, meta={"hook": Harmful(tmp_path / "touched")})
    with pytest.raises(UserError, match="not safe to read"):
        read_checkpoint(path)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("content", [{"meta": {}}, {"state_dict": {}}, {"state_dict": {"a": 1}}, [1], torch.zeros(2)])
def test_a_file_without_a_state_dict(path, content):
    torch.save(content, path)
    with pytest.raises(UserError, match="no state dict"):
        read_checkpoint(path)


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
def test_a_damaged_file(path, keep):
    raw = save(path).read_bytes()
    path.write_bytes(raw[: int(keep * len(raw)) if isinstance(keep, float) else keep])
    with pytest.raises(UserError, match="damaged"):
        read_checkpoint(path)


def test_a_text_file_or_no_file(path):
    with pytest.raises(UserError, match="does not exist"):
        read_checkpoint(path)
    path.write_text("<html>not found</html>", encoding="utf-8")
    with pytest.raises(UserError, match="damaged"):
        read_checkpoint(path)


def test_differences_are_named_missing_ones_first():
    assert differences(STATE, STATE) == []
    found = {"a.bias": torch.ones(3), "b": torch.ones(1)}
    assert differences(found, STATE) == [
        "a.weight is missing",
        "b is not expected",
        "a.bias has the shape (3,), not (2,)",
    ]
