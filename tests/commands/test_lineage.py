"""``spine-models lineage``: what it prints of a run."""

import pytest

from spine_models.commands.lineage import lineage
from spine_models.errors import UserError
from spine_models.provenance.acceptance import write_acceptances
from spine_models.provenance.records import write_record
from tests.provenance.test_lineage import KEY, LINE


def test_code_and_acceptances_are_printed(tmp_path, capsys):
    for study in ("1", "2"):
        write_record(tmp_path / "crops/0" / f"{study}.json", KEY, {}, {})
    write_acceptances(tmp_path, [LINE])
    lineage(tmp_path)
    assert capsys.readouterr().out.splitlines() == [
        "make_crops: 2 results of code old",
        "  accepted for code new; changed: spine_models.a; reason: renamed",
    ]


def test_a_folder_that_is_no_run_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="holds no result with a record: give the output_dir of a run"):
        lineage(tmp_path)
    with pytest.raises(UserError, match="nowhere is not a folder"):
        lineage(tmp_path / "nowhere")
