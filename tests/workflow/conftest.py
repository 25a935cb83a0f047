import pytest

from benchmarks.tiny import TINY
from tests.workflow.runs import snakemake


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A finished run of the tiny preset: its working directory and the process that made it."""
    directory = tmp_path_factory.mktemp("tiny")
    process = snakemake("--cores", "2", "--configfile", TINY, directory=directory)
    assert process.returncode == 0, process.stdout[-8000:] + process.stderr[-8000:]
    return directory, process
