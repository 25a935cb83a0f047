import pytest

from tests.slurm.cluster import missing_packages


def pytest_addoption(parser):
    parser.addoption("--run-slurm", action="store_true", help="start a Slurm and run the workflow on it")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--run-slurm", default=False):
        reason = "starts a Slurm on this machine: make test-slurm"
    elif missing_packages():
        reason = f"needs the Debian packages {' '.join(missing_packages())}"
    else:
        return
    for item in items:
        if "tests/slurm" in item.path.as_posix():
            item.add_marker(pytest.mark.skip(reason=reason))
