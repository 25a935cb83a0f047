import pytest

from benchmarks.tiny import TINY
from tests.workflow import warm
from tests.workflow.runs import snakemake


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A finished run of the tiny preset: its working directory and the process that made it."""
    directory = tmp_path_factory.mktemp("tiny")
    with warm.environment(tmp_path_factory.mktemp("jobs")) as variables:
        process = snakemake("--cores", "2", "--configfile", TINY, directory=directory, timeout=1800, **variables)
    assert process.returncode == 0, process.stdout[-8000:] + process.stderr[-8000:]
    return directory, process


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """Variables with which Snakemake's jobs start warm."""
    with warm.environment(tmp_path_factory.mktemp("jobs")) as variables:
        yield variables
