import multiprocessing
import os
import resource
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from spine_models.errors import StorageError
from spine_models.provenance.files import clear_left_overs, read_json, replacing, write_json


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_name_keeps_the_suffix_and_the_folder(tmp_path):
    with replacing(tmp_path / "new" / "image.nii.gz") as temporary:
        assert temporary.parent == tmp_path / "new"
        assert temporary.suffix == ".gz"
        temporary.write_text("content")
    assert (tmp_path / "new" / "image.nii.gz").read_text() == "content"


def test_equal_values_give_equal_bytes(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1, "ä": [1.5]})
    write_json(tmp_path / "b.json", {"ä": [1.5], "x": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert read_json(tmp_path / "a.json") == {"x": 1, "ä": [1.5]}


def _write_and_die(path):
    with replacing(path) as temporary:
        temporary.write_text("half of the n")
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_kill_left_is_removed_by_the_next_writer_and_a_living_one_is_left_alone(tmp_path):
    path, other = tmp_path / "1.2[x].npy", tmp_path / "1.3.npy"
    for name in (path, other):
        child = multiprocessing.get_context("fork").Process(target=_write_and_die, args=(name,))
        child.start()
        child.join()
    assert len(list(tmp_path.iterdir())) == 2
    with replacing(path) as first:
        first.write_text("first")
        with replacing(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert sorted(name.name[:5] for name in tmp_path.iterdir()) == [".1.3.", "1.2[x"]
    clear_left_overs(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


# Made here: a forked child waits for ever for the threads of torch, where a test before this one started some.
ZEROS = torch.zeros(100_000)
WRITERS = {
    "text": lambda path: path.write_text("x" * 100_000),
    "numpy": lambda path: np.save(path, np.zeros(100_000)),
    "safetensors": lambda path: save_file({"a": ZEROS}, path),
    "torch": lambda path: torch.save({"a": ZEROS}, path),
}


def _write_with_little_room(path, write, answer):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        with replacing(path) as temporary:
            WRITERS[write](temporary)
    except StorageError as error:
        answer.send(str(error))


@pytest.mark.parametrize("write", WRITERS)
def test_a_file_that_does_not_fit_is_a_sentence_whatever_the_writer_says(tmp_path, write):
    ours, theirs = multiprocessing.Pipe()
    path = tmp_path / "a.npy"
    child = multiprocessing.get_context("fork").Process(target=_write_with_little_room, args=(path, write, theirs))
    child.start()
    child.join()
    assert ours.poll(), "no sentence"
    sentence = ours.recv()
    assert sentence.startswith(f"{path} cannot be read or written (File too large; ")
    assert "bytes are free there" in sentence and "run the same command again" in sentence
    assert list(tmp_path.iterdir()) == []
