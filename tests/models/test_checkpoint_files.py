"""Checkpoints of others: plain values are read, code is not run, and differences of tensors are named."""

import resource
import time
import zipfile
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


def archive(path: Path, *pickled: bytes, compression: int = zipfile.ZIP_DEFLATED) -> None:
    """Write what ``torch.save`` writes, around a pickle of one's own, given in parts."""
    with zipfile.ZipFile(path, "w", compression, compresslevel=1) as stream:
        with stream.open("c/data.pkl", "w", force_zip64=True) as entry:
            for part in pickled:
                entry.write(part)
        stream.writestr("c/byteorder", b"little")
        stream.writestr("c/version", b"3\n")


def called(function: str, *arguments: bytes) -> bytes:
    """Return the pickle of a call: protocol 2, GLOBAL, the arguments as a tuple, REDUCE, STOP."""
    module, _, name = function.rpartition(".")
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR."


MEGA = 1 << 20
BOMBS = {
    "zeros in a compressed archive": [b"\x80\x02]", *[b"0" * MEGA] * 1000],
    "text in a compressed archive": [b"\x80\x02X", (1000 * MEGA).to_bytes(4, "little"), *[b"a" * MEGA] * 1000, b"."],
    "lists in lists": [b"\x80\x02", *[b"]" * MEGA] * 20, *[b"a" * MEGA] * 20, b"."],
    "tuples in tuples": [b"\x80\x02)", *[b"\x85" * MEGA] * 30, b"."],
    "marks": [b"\x80\x02", *[b"(" * MEGA] * 100, b"."],
    "memory by a call": [called("builtins.bytearray", b"\x8a\x05" + (8 << 30).to_bytes(5, "little"))],
    "pairs of pairs": [b"\x80\x02X\x04\0\0\0aaaaq\x00", *[b"h\x00h\x00\x86q\x00" * 1000] * 1000, b"."],
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_ends_in_a_sentence_and_takes_neither_memory_nor_time(path, bomb):
    archive(path, *BOMBS[bomb])
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.process_time()
    with pytest.raises(UserError) as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)
    copies = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert time.process_time() - begin + copies.ru_utime - children.ru_utime < 5
    assert copies.ru_maxrss < max(children.ru_maxrss, own.ru_maxrss + 500_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < own.ru_maxrss + 50_000


def test_a_tensor_that_repeats_one_number_without_end_is_refused(path):
    torch.save({"state_dict": STATE | {"a.more": torch.zeros(1).expand(1 << 40)}}, path)
    with pytest.raises(UserError, match="which it does not hold"):
        read_checkpoint(path)


@pytest.mark.parametrize("tensor", [torch.eye(3).to_sparse(), torch.empty(9, device="meta")])
def test_a_tensor_without_plain_numbers_is_refused(path, tensor):
    torch.save({"state_dict": STATE | {"a.more": tensor}}, path)
    with pytest.raises(UserError, match=r"damaged|not a plain array"):
        read_checkpoint(path)
