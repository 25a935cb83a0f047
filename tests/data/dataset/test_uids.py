import pytest

from spine_models.data.dataset.uids import is_uid, study_id


@pytest.mark.parametrize("text", ["1.2", "1.2.826.0.1.3680043.10001", "2.25." + "1" * 59])
def test_uids(text) -> None:
    assert is_uid(text)
    assert study_id(text) == text


@pytest.mark.parametrize(
    "text", ["", "1", ".1", "1.", "1..2", "1.2/3", "../1.2", "1.2\n", "John Doe", "1" * 40 + "." + "1" * 40]
)
def test_what_is_no_uid_never_becomes_a_path(text) -> None:
    assert not is_uid(text)
    name = study_id(text)
    assert name.startswith("folder-")
    assert len(text) < 3 or text not in name
    assert "/" not in name
