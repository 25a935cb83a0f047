import pytest

from spine_models.provenance.files import write_json
from spine_models.provenance.sealed import BrokenSealError, NotSealedError, read_sealed, write_sealed


def test_what_is_sealed_comes_back(tmp_path):
    write_sealed(tmp_path / "a.json", {"folds": {"1.2": 3}})
    assert read_sealed(tmp_path / "a.json") == {"folds": {"1.2": 3}}


@pytest.mark.parametrize("change", [("3", "2"), ("1.2", "1.3"), ("folds", "folbs"), ('"digest": "', '"digest": "0')])
def test_a_changed_character_breaks_the_seal(tmp_path, change):
    path = tmp_path / "a.json"
    write_sealed(path, {"folds": {"1.2": 3}})
    path.write_text(path.read_text().replace(*change, 1))
    with pytest.raises(BrokenSealError):
        read_sealed(path)


def test_other_json_has_no_seal(tmp_path):
    write_json(tmp_path / "a.json", {"1.2": 3})
    with pytest.raises(NotSealedError):
        read_sealed(tmp_path / "a.json")
    with pytest.raises(ValueError, match="the seal's"):
        write_sealed(tmp_path / "a.json", {"digest": 1})
