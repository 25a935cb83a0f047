"""The texts are Snakemake's own; that they still are is tested with a real run in tests/workflow/test_reruns.py."""

import pytest

from spine_models.commands.code_differences import CodeDifference, code_differences, planned_jobs
from spine_models.errors import UserError

CHANGED = "Params have changed since last execution: Union of exclusive params before and now across all output: "
CODE = f"{CHANGED}before: '{'a' * 16}' now: '{'b' * 16}' "
LATER = "Input files updated by another job: results/folds/segmentation.csv"


def job(rule, reason):
    return (
        f"[Thu Nov 26 03:47:40 2026]\nrule {rule}:\n    input: a.csv, b.csv\n    output: results/c.csv\n"
        f"    jobid: 17\n    reason: {reason}\n    resources: tmpdir=/tmp, mem_mb=48000\n"
    )


@pytest.mark.parametrize("reason", [CODE, f"{LATER}; {CODE}", f"{CODE}; {LATER}"])
def test_jobs_of_one_stage_that_differ_in_their_code_alone_are_counted(reason):
    plan = job("make_crops", CODE) + job("make_crops", reason) + "\n" + job("evaluate", LATER)
    assert code_differences(plan) == [CodeDifference("make_crops", "a" * 16, "b" * 16, 2)]


@pytest.mark.parametrize(
    "reason",
    [
        f"{CHANGED}before: '{'a' * 16}','{{\"depth\":40}}' now: '{'b' * 16}','{{\"depth\":41}}' ",
        f"{CHANGED}before: <nothing exclusive> now: '{'b' * 16}' ",
        f"Missing output files: results/c.csv; {CODE}",
        f"Code has changed since last execution; {CODE}",
        f"{CODE}; Set of input files has changed since last execution",
        f"Updated input files: data/train.csv; {CODE}",
        LATER,
    ],
)
def test_a_job_with_another_reason_is_none_of_them(reason):
    assert code_differences(job("make_crops", reason)) == []


def test_a_folder_without_a_workflow_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="Snakefile is missing: run this command from the checkout"):
        planned_jobs(tmp_path, [])


def test_what_snakemake_refuses_is_a_sentence(tmp_path):
    (tmp_path / "Snakefile").write_text("rule all:\n    input: 'nowhere.txt'\n")
    with pytest.raises(UserError, match=r"`snakemake --dry-run` fails \(.*nowhere.txt\): correct what is behind --"):
        planned_jobs(tmp_path, ["--directory", str(tmp_path)])
