"""The wheel holds the workflow and declares what the library needs."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.workflow.runs import ROOT, planned

WORKFLOW = ("Snakefile", "config.yaml", "rules", "workflow_scripts", "presets", "profiles", "envs")
BESIDE = {"mmengine", "mmcv-lite", "mmaction2"}
"""Installed by README's second command, without what they ask for."""
UNUSED = {"decord", "opencv-python", "opencv-contrib-python"}
"""What those three ask for and nothing of ours reaches."""
OPTIONAL = {"triton"}
"""Comes with torch's CUDA builds."""


def name_of(text):
    return re.sub(r"[-_.]+", "-", text).lower()


@pytest.fixture(scope="module")
def declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {name_of(found.name): found for found in map(Requirement, project["dependencies"])}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The wheel of this checkout, unpacked as pip would."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "benchmarks/", "docs/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", folder, source], cwd=folder, check=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def third_party():
    """Return the distributions that the library imports by their names in the code."""
    found = set()
    for path in [*(ROOT / "spine_models").rglob("*.py"), *(ROOT / "workflow_scripts").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
                names += [word.value for word in node.args if isinstance(word, ast.Constant)]
            found |= {name.split(".")[0] for name in names}
    found -= {*sys.stdlib_module_names, "spine_models", "workflow_scripts"}
    of_module = importlib.metadata.packages_distributions()
    return {name_of(name) for module in found for name in of_module.get(module, [module])}


def test_every_import_of_the_library_is_declared_or_installed_by_the_second_command(declared):
    lacking = third_party() - set(declared) - BESIDE - OPTIONAL
    assert lacking == set()


def test_what_the_three_need_is_declared_but_for_other_builds_of_opencv(declared):
    needed = set()
    for package in BESIDE:
        for line in importlib.metadata.requires(package):
            found = Requirement(line)
            if not (found.marker and not found.marker.evaluate({"extra": ""})):
                needed.add(name_of(found.name))
    assert needed - set(declared) - BESIDE - UNUSED == set()


def test_the_second_command_installs_the_versions_of_the_lock():
    (command,) = re.findall(r"^pip install --no-deps (.*)$", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    lock = (ROOT / "requirements.lock").read_text()
    assert {pin.split("==")[0] for pin in command.split()} == BESIDE
    assert [pin for pin in command.split() if f"{pin} " not in lock] == []


def test_the_lock_is_one_of_the_versions_that_the_wheel_allows(declared):
    pins = (ROOT / "requirements.lock").read_text() + (ROOT / "requirements-torch.txt").read_text()
    versions = {name_of(name): version for name, version in re.findall(r"^([\w.-]+)==([\w.+!-]+)", pins, re.MULTILINE)}
    wrong = [name for name, found in declared.items() if not found.specifier.contains(versions[name])]
    assert wrong == []


def test_the_wheel_holds_every_file_of_the_workflow(unpacked):
    listed = subprocess.run(["git", "ls-files", *WORKFLOW], cwd=ROOT, capture_output=True, text=True, check=True)
    names = [name for name in listed.stdout.split() if (ROOT / name).is_file()]
    assert len(names) > 30
    assert [name for name in names if not (unpacked / "spine_models/workflow" / name).is_file()] == []


def test_the_installed_workflow_plans_from_any_folder(unpacked, tmp_path):
    command = [sys.executable, "-m", "spine_models", "workflow", "--", "-n", "--configfile", "presets/demo.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert planned(process)["all"] == 1
    said = process.stdout + process.stderr
    assert f"Snakefile: {Path(unpacked) / 'spine_models/workflow/Snakefile'}" in said
