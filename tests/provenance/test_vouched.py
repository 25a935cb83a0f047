import pytest

from spine_models.errors import UserError
from spine_models.provenance.files import write_text
from spine_models.provenance.keys import Key
from spine_models.provenance.records import file_facts, read_record
from spine_models.provenance.vouched import (
    digests,
    is_vouched_ahead,
    record_path,
    vouch,
    vouch_ahead,
    vouched,
    vouched_if_ours,
)

KEY = Key("make_folds", {"train.csv": "d1"}, {"seed": 0}, "code")


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "folds" / "segmentation.csv"
    write_text(path, "StudyInstanceUID,fold\n1.2,0\n1.3,1\n")
    vouch(path, KEY)
    return path


def test_a_published_file_stays_plain_and_its_record_tells_its_key(table):
    assert table.read_text().startswith("StudyInstanceUID,fold\n")
    assert vouched(table) == table
    assert read_record(record_path(table)).key == KEY
    assert record_path(table).name == "segmentation.csv.record.json"


@pytest.mark.parametrize("damage", ["cut off at a line", "one digit", "deleted", "record deleted", "record changed"])
def test_what_differs_from_its_record_is_refused_with_the_command_that_repairs_it(table, damage):
    record = record_path(table)
    if damage == "cut off at a line":
        table.write_text("StudyInstanceUID,fold\n1.2,0\n")
    elif damage == "one digit":
        table.write_text(table.read_text().replace("1.3,1", "1.3,0"))
    elif damage == "record changed":
        record.write_text(record.read_text().replace('"seed": 0', '"seed": 1'))
    else:
        (table if damage == "deleted" else record).unlink()
    with pytest.raises(UserError, match=r"run `snakemake --force \S*folds/segmentation.csv`, which makes it anew"):
        vouched(table)


def test_a_file_in_a_folder_that_the_workflow_declares_is_repaired_by_that_folder(table):
    table.write_text("")
    with pytest.raises(UserError, match=r"run `snakemake --force \S*folds`, which makes it anew"):
        vouched(table, table.parent)


def test_a_copy_is_vouched_for_by_what_was_known_before_it(table):
    known = file_facts(table)
    table.write_text("a copy that went wrong")
    vouch(table, KEY, known)
    with pytest.raises(UserError, match="differs from its record"):
        vouched(table)


def test_digests_of_inputs_are_those_of_their_content(table, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(table.read_text())
    found = digests(train=other, half=[table, other])
    assert list(found) == ["half/other.csv", "half/segmentation.csv", "train"]
    assert len(set(found.values())) == 1
    other.write_text("another content")
    assert digests(train=other) != {"train": found["train"]}


def test_a_table_without_a_record_is_the_users_and_one_with_it_is_compared(table):
    record_path(table).rename(table.with_name("aside"))
    assert vouched_if_ours(table) == table
    table.with_name("aside").rename(record_path(table))
    table.write_text(table.read_text().replace("1.3,1", "1.3,0"))
    with pytest.raises(UserError, match="differs from its record"):
        vouched_if_ours(table)


def test_a_record_written_ahead_knows_what_is_there_and_what_comes(tmp_path):
    path, coming = tmp_path / "state.ckpt", tmp_path / "coming"
    assert not is_vouched_ahead(path)
    coming.write_text("first")
    vouch_ahead(path, coming)
    coming.rename(path)
    for later in ("second", "third"):  # killed both times before the rename
        coming.write_text(later)
        vouch_ahead(path, coming)
        assert is_vouched_ahead(path)
    coming.rename(path)
    assert is_vouched_ahead(path)
    path.write_text("thirD")
    assert not is_vouched_ahead(path)
