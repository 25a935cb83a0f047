import pytest

from spine_models.provenance.files import read_json, replacing, write_json


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
