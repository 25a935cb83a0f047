"""A job finds the user's files as the plan did, or says that they changed."""

import os
import re
from pathlib import Path

import pytest

from spine_models.errors import UserError
from spine_models.provenance.arguments import stage_parser
from spine_models.provenance.canonical import digest_file
from spine_models.provenance.seen import SeenFiles

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "a = b.csv"
    path.write_text("x\n1\n")
    return path


def test_files_that_stay_as_they_are(table):
    seen = stage_parser("").parse_args(["--seen", f"{digest_file(table)}={table}"]).seen
    seen.require_unchanged()
    stage_parser("").parse_args([]).seen.require_unchanged()


@pytest.mark.parametrize("change", [lambda path: path.write_text("x\n2\n"), lambda path: path.unlink()])
def test_another_content_than_the_plans_is_a_sentence(table, change):
    word = f"{digest_file(table)}={table}"
    change(table)
    with pytest.raises(UserError, match=r"a = b\.csv changed after the workflow had looked at it"):
        SeenFiles([word])


def _cut_and_bring_back(path):
    data, there = path.read_bytes(), path.stat()
    path.write_bytes(data[:2])
    path.write_bytes(data)
    os.utime(path, ns=(there.st_atime_ns, there.st_mtime_ns))


@pytest.mark.parametrize("change", [_cut_and_bring_back, lambda path: path.write_text("y\n1\n"), Path.unlink])
def test_a_change_while_the_job_reads_is_a_sentence_also_where_it_is_taken_back(table, change):
    seen = SeenFiles([f"{digest_file(table)}={table}"])
    change(table)
    with pytest.raises(UserError, match="changed after"):
        seen.require_unchanged()


def test_every_script_that_gets_the_users_files_looks_at_them_again():
    rules = re.findall(r"^rule (\w+):(.*?)(?=^rule |\Z)", _rules(), re.MULTILINE | re.DOTALL)
    given = {name for name, text in rules if "seen=seen(" in text}
    assert given == {name for name, text in rules if "{params.seen}" in text}
    assert len(given) >= 10
    for name in given:
        assert "args.seen.require_unchanged()" in (ROOT / f"workflow_scripts/{name}.py").read_text(), name


def _rules():
    return "\n".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
