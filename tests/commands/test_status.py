"""``spine-models status``: what the files of a run tell while it goes on, after it, and after a kill."""

import os
import time

import pytest

from spine_models.commands.app import main
from spine_models.commands.status import rule_states, status_of
from spine_models.errors import UserError
from spine_models.provenance.locks import folder_lock
from spine_models.provenance.plan import PLAN, write_plan

STARTED = 1_700_000_000.0
HEADER = "s\th:m:s\tmax_rss\tcpu_time\n"


def _write(path, text, seconds_after=10.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (STARTED + seconds_after,) * 2)


@pytest.fixture
def run(tmp_path):
    """Two of five conversions are done, one of them by an earlier run; one is running, one has failed."""
    out = tmp_path / "results"
    write_plan_at = {"convert_volumes": 4, "train_segmentation": 2}
    out.mkdir()
    write_plan(out, write_plan_at, STARTED)
    _write(out / "benchmarks/convert_volumes/0.tsv", f"{HEADER}30.0\t0:00:30\t200.0\t20\n", -1000)
    _write(out / "logs/convert_volumes/0.log", "convert_volumes starts on vm, process 1\n", -1000)
    _write(out / "benchmarks/convert_volumes/1.tsv", f"{HEADER}10.0\t0:00:10\t300.0\t9\n")
    _write(out / "logs/convert_volumes/1.log", "convert_volumes starts on vm, process 2\n")
    _write(
        out / "logs/convert_volumes/2.log",
        "convert_volumes starts on vm, process 3\nconvert_volumes: 3 of 9 studies, 6 a minute, about 1 min left\n",
    )
    _write(out / "logs/convert_volumes/3.log", "convert_volumes starts on vm, process 4\nerror: the disk is full\n")
    (out / "volumes").mkdir()
    (out / "volumes/a.npy").write_bytes(bytes(3_000_000))
    return out


def test_jobs_of_each_rule(run):
    rules = rule_states(run, STARTED, {"convert_volumes": 4, "train_segmentation": 2})
    conversion, training = rules["convert_volumes"], rules["train_segmentation"]
    assert (conversion.done, conversion.waiting, conversion.memory_mb) == (1, 1, 300.0)
    assert conversion.running == {"convert_volumes/2": "3 of 9 studies, 6 a minute, about 1 min left"}
    assert [path.rsplit("/", 1)[1] for path in conversion.failed] == ["3.log"]
    assert conversion.left_s == 2 * 20.0
    assert (training.waiting, training.left_s) == (2, None)


def test_while_it_goes_on(run):
    with folder_lock(run):
        said = status_of(run)
    assert said.startswith(f"run         going on since {time.strftime('%Y-%m-%d %H:%M', time.localtime(STARTED))}")
    assert "about 40 s with 1 jobs at once, and what train_segmentation take, of which no job has ended yet" in said
    assert "convert_volumes/2: 3 of 9 studies, 6 a minute, about 1 min left" in said
    assert "see " in said
    assert "disk        0.00 GB, most in volumes 0.00" in said


def test_after_a_kill(run):
    assert status_of(run).startswith("run         stopped with 5 jobs left: run the same command again")


def test_a_finished_run_and_one_from_before_plans(run):
    for path in (*run.glob("logs/*/[23].log"), run / PLAN):
        path.unlink()
    assert status_of(run).startswith("run         not going on")
    write_plan(run, {"convert_volumes": 1}, STARTED)
    assert status_of(run).startswith("run         finished; it began 2023-11-1")


def test_a_damaged_plan_is_none(run):
    (run / PLAN).write_text("{")
    assert "convert_volumes" in status_of(run)


@pytest.mark.parametrize(("name", "sentence"), [("nowhere", "is not a folder"), ("", "holds no run")])
def test_what_is_no_run_is_a_sentence(tmp_path, name, sentence):
    with pytest.raises(UserError, match=sentence):
        status_of(tmp_path / name)


def test_the_command(run, capsys):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with pytest.raises(SystemExit) as ended:
        main(["status", str(run)])
    assert ended.value.code == 0
    assert "train_segmentation" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
