"""Files stored inside one file: found where they lie, and nothing that could lie otherwise."""

import shutil
import subprocess
import zipfile

import pytest

from spine_models.errors import UserError
from spine_models.provenance.canonical import digest_file
from spine_models.provenance.packed import read_archive, size_of, write_archive


@pytest.fixture
def files(tmp_path):
    contents = {"a.json": b"{}", "weights.safetensors": bytes(range(256)) * 9000, "empty": b""}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    return {name: tmp_path / name for name in contents}


def test_files_come_back_and_equal_content_gives_equal_bytes(files, tmp_path):
    write_archive(tmp_path / "one.zip", files)
    for path in files.values():
        path.touch()
    write_archive(tmp_path / "two.zip", files)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    found = read_archive(tmp_path / "one.zip")
    assert list(found) == list(files)
    for name, path in files.items():
        with found[name].open() as stream:
            assert stream.read() == path.read_bytes()
        assert (size_of(found[name]), digest_file(found[name])) == (path.stat().st_size, digest_file(path))
    with found["weights.safetensors"].open() as stream:
        assert stream.read(3) == bytes([0, 1, 2])
        assert stream.read(2) == bytes([3, 4])


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_other_programs_unpack_it(files, tmp_path):
    write_archive(tmp_path / "one.zip", files)
    subprocess.run(["unzip", "-q", tmp_path / "one.zip", "-d", tmp_path / "out"], check=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        name: path.read_bytes() for name, path in files.items()
    }


def _written(path, names, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name in names:
            archive.writestr(name, b"x" * 1000)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("names", "compression", "sentence"),
    [
        (["a"], zipfile.ZIP_DEFLATED, "compressed"),
        (["a", "a"], zipfile.ZIP_STORED, "two files of one name"),
        (["bundle/a"], zipfile.ZIP_STORED, "holds folders"),
        (["../../etc/passwd"], zipfile.ZIP_STORED, "holds folders"),
        (["a\\b"], zipfile.ZIP_STORED, "holds folders"),
        ([str(number) for number in range(2001)], zipfile.ZIP_STORED, "2000 at most"),
    ],
)
def test_what_is_not_stored_as_it_is_beside_one_another_is_refused(tmp_path, names, compression, sentence):
    _written(tmp_path / "x.zip", names, compression)
    with pytest.raises(UserError, match=rf"x\.zip cannot be read: .*{sentence}.*`spine-models bundle pack` makes one"):
        read_archive(tmp_path / "x.zip")


def test_an_encrypted_archive_is_refused(tmp_path):
    _written(tmp_path / "x.zip", ["a"])
    data = bytearray((tmp_path / "x.zip").read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(UserError, match="encrypted"):
        read_archive(tmp_path / "x.zip")


@pytest.mark.parametrize("data", [b"", b"text", b"PK\5\6" + bytes(10), b"PK\3\4" + bytes(5000)])
def test_what_is_no_archive_is_a_sentence(tmp_path, data):
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(UserError, match=r"x\.zip is not a zip archive, or is damaged"):
        read_archive(tmp_path / "x.zip")


def test_entries_that_claim_more_than_the_file_or_lie_in_one_another_are_refused(tmp_path):
    """A bomb needs no compression: many entries may point to the same bytes."""
    path = tmp_path / "x.zip"
    _written(path, ["a", "b"])
    data = path.read_bytes()
    lists = [place for place in range(len(data)) if data[place : place + 4] == b"PK\1\2"]
    for sizes in ((4_000_000).to_bytes(4, "little") * 2, (1100).to_bytes(4, "little") * 2):
        changed = bytearray(data)
        changed[lists[0] + 20 : lists[0] + 28] = sizes
        path.write_bytes(changed)
        with pytest.raises(UserError, match="lies inside another file or beyond the end"):
            read_archive(path)
    changed = bytearray(data)
    changed[lists[1] + 42 : lists[1] + 46] = data[lists[0] + 42 : lists[0] + 46]
    path.write_bytes(changed)
    with pytest.raises(UserError, match="b is not where its list says"):
        read_archive(path)
