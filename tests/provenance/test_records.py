import numpy as np
import pytest

from spine_models.errors import UserError
from spine_models.provenance.canonical import digest_file
from spine_models.provenance.keys import Key
from spine_models.provenance.records import (
    Work,
    file_facts,
    find_record,
    is_array,
    is_intact,
    open_array,
    read_record,
    write_array,
    write_record,
    writing_array,
)

KEY = Key("convert_volumes", {"files": "d1"}, {"depth": 40}, "one")
OTHER = Key("convert_volumes", {"files": "d1"}, {"depth": 40}, "two")


@pytest.fixture
def recorded(tmp_path):
    array = np.arange(5 * 4 * 3, dtype=np.int16).reshape(5, 4, 3)
    shard = tmp_path / "volumes" / "3"
    shard.mkdir(parents=True)
    facts = write_array(shard / "1.2.npy", array)
    write_record(shard / "1.2.json", KEY, {"1.2.npy": facts}, {"mean": 1.5})
    return shard / "1.2.json", array


def test_a_record_is_found_only_under_its_own_key(recorded):
    path, _ = recorded
    assert find_record(path, KEY).facts == {"mean": 1.5}
    assert find_record(path, OTHER) is None


def test_array_comes_back_as_a_read_only_memory_map(recorded):
    path, array = recorded
    opened = open_array(path, "1.2.npy", read_record(path))
    assert isinstance(opened, np.memmap)
    np.testing.assert_array_equal(opened, array)
    with pytest.raises(ValueError, match="read-only"):
        opened[0] = 0


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete"])
def test_damage_is_never_reused_and_reading_it_names_the_repair(recorded, damage):
    path, _ = recorded
    array_file = path.with_suffix(".npy")
    data = bytearray(array_file.read_bytes())
    if damage == "delete":
        array_file.unlink()
    elif damage == "truncate":
        array_file.write_bytes(data[:-1])
    else:
        data[-1] ^= 1
        array_file.write_bytes(data)
    assert find_record(path, KEY) is None
    with pytest.raises(UserError, match=r"snakemake --force \S*volumes/3.json"):
        open_array(path, "1.2.npy", read_record(path))


@pytest.mark.parametrize("before", ['"mean": 1.5', '"code": "one"', '"depth": 40'])
def test_a_changed_value_in_a_record_is_noticed(recorded, before):
    path, _ = recorded
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, before[:-2] + "9" + before[-1:], 1))
    assert find_record(path, KEY) is None
    with pytest.raises(UserError, match=r"differs from its digest: run `snakemake --force \S*volumes/3.json"):
        read_record(path)


def test_a_record_with_another_content_than_its_manifest_says_is_refused(recorded):
    path, _ = recorded
    record = read_record(path)
    assert read_record(path, record.digest) == record
    with pytest.raises(UserError, match="is not the one that"):
        read_record(path, "0" * 64)


def test_a_record_tells_the_parts_of_its_key(recorded):
    path, _ = recorded
    assert read_record(path).key == KEY


def test_a_damaged_record_is_not_found_and_reading_it_is_a_sentence(recorded):
    path, _ = recorded
    path.write_text(path.read_text()[:-20])
    assert find_record(path, KEY) is None
    with pytest.raises(UserError, match="missing or damaged"):
        read_record(path)


def test_the_digest_speaks_of_content_and_not_of_the_key(tmp_path):
    (tmp_path / "a.txt").write_text("content")
    files = {"a.txt": file_facts(tmp_path / "a.txt")}
    first = write_record(tmp_path / "1.json", KEY, files, {"n": 1})
    second = write_record(tmp_path / "2.json", OTHER, files, {"n": 1})
    other = write_record(tmp_path / "3.json", KEY, files, {"n": 2})
    assert first.digest == second.digest != other.digest


@pytest.mark.parametrize("shape", [(5, 4, 3), (1, 1, 1), (70, 300, 301), (0, 3), (2, 0)])
@pytest.mark.parametrize("dtype", ["<i2", "u1", ">f4", "?"])
def test_an_array_is_described_by_what_is_written_and_without_being_written(tmp_path, shape, dtype):
    array = np.arange(np.prod(shape)).astype(dtype).reshape(shape)
    for number, one in enumerate((array, array.T)):
        path = tmp_path / f"{number}.npy"
        facts = write_array(path, one)
        np.save(tmp_path / "by numpy.npy", np.ascontiguousarray(one))
        assert path.read_bytes() == (tmp_path / "by numpy.npy").read_bytes()
        assert facts.bytes == path.stat().st_size
        assert facts.sha256 == digest_file(path)
        assert is_intact(path, facts) and is_array(one, facts)
        with writing_array(None, one.shape, one.dtype) as slices:
            for part in one:
                slices.write(part)
        assert slices.facts == facts


def test_an_array_whose_slices_fail_is_not_written(tmp_path):
    write_array(tmp_path / "a.npy", np.zeros((2, 2)))
    before = (tmp_path / "a.npy").read_bytes()
    with pytest.raises(ZeroDivisionError), writing_array(tmp_path / "a.npy", (3, 2), np.dtype("<i2")) as slices:
        slices.write(np.ones(2))
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
    assert (tmp_path / "a.npy").read_bytes() == before


def test_files_that_were_dropped_may_lack_and_nothing_else(recorded):
    path, _ = recorded
    array_file = path.with_suffix(".npy")
    data = array_file.read_bytes()
    array_file.write_bytes(data[:-1])
    assert find_record(path, KEY, dropped=True) is None
    array_file.unlink()
    assert find_record(path, KEY, dropped=True).facts == {"mean": 1.5}
    assert find_record(path, OTHER, dropped=True) is None
    assert find_record(path, KEY) is None


def test_a_job_says_what_it_made_and_what_it_found(tmp_path, capsys):
    work = Work("make_tables", "tables")
    for key in (KEY, KEY, OTHER):
        path = tmp_path / f"{key.code}.json"
        work.result(path, key, lambda key=key, path=path: write_record(path, key, {}, {}))
    with pytest.raises(ZeroDivisionError):
        work.result(tmp_path / "three.json", KEY, lambda: 1 // 0)
    work.say()
    work.say(refused=1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "make_tables: 2 of 3 tables made, 1 reused"
    assert lines[1] == "make_tables: 2 of 4 tables made, 1 reused, 1 refused"
