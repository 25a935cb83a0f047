"""The environments that conda makes hold what the lock holds."""

import re

import pytest
import yaml

from tests.workflow.runs import ROOT

ENVIRONMENT = ROOT / "envs/spine_models.yaml"
POST_DEPLOY = ROOT / "envs/spine_models.post-deploy.sh"


@pytest.fixture(scope="module")
def lock():
    return (ROOT / "requirements.lock").read_text()


@pytest.fixture(scope="module")
def script():
    return POST_DEPLOY.read_text()


def test_every_package_of_the_lock_has_one_exact_version_and_its_hashes(lock):
    packages = re.split(r"\n(?! )", lock.strip())
    pin = re.compile(r"[\w.-]+==[\w.+!-]+( \\\n    --hash=sha256:[0-9a-f]{64})+")
    assert [package for package in packages if not pin.fullmatch(package)] == []
    names = [re.sub(r"[-_.]+", "-", package.split("==")[0]).lower() for package in packages]
    # Its builds have other hashes.
    assert "torch" not in names
    assert sorted(names) == sorted(set(names))


def test_the_post_deploy_script_carries_the_lock(lock, script):
    carried = re.search(r"<< 'LOCK'\n(.*?)^LOCK$", script, flags=re.DOTALL | re.MULTILINE)
    assert carried, f"{POST_DEPLOY.name} has no here-document of the lock"
    assert carried[1] == lock, "the lock changed: run `make envs`"


def test_the_post_deploy_script_installs_only_from_the_lock(script):
    installs = [line for line in script.splitlines() if line.startswith("pip install")]
    torch = (ROOT / "requirements-torch.txt").read_text().strip()
    assert installs == [
        'pip install --quiet --no-deps --require-hashes --requirement "$lock"',
        f"pip install --quiet '{torch}'",
    ]


def test_conda_brings_the_python_that_the_project_asks_for_and_pins_nothing_of_the_lock():
    environment = yaml.safe_load(ENVIRONMENT.read_text())
    python = re.search(r'requires-python = "[>=~]*(\d+\.\d+)', (ROOT / "pyproject.toml").read_text())
    assert python
    # A package beside Python and pip would be a second version of what the lock says.
    assert environment["dependencies"] == [f"python={python[1]}", "pip"]


def test_the_one_opencv_is_the_headless_one(lock):
    assert re.findall(r"^opencv[\w-]*", lock, flags=re.MULTILINE) == ["opencv-python-headless"]
