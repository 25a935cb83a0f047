"""``spine-models``: help, mistakes and what is imported for them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

from spine_models.commands.app import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]
NAMES = [command.__name__.replace("_", "-") for command in COMMANDS]
HEAVY = {"torch", "pandas", "numpy", "albumentations", "pydicom", "pytorch_lightning", "rich", "yaml"}


def outcome(capsys, *arguments: str) -> tuple[int | str | None, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return caught.value.code, *capsys.readouterr()


@pytest.mark.parametrize("name", NAMES)
def test_each_command_explains_itself_with_examples(capsys, name):
    status, out, _ = outcome(capsys, name, "--help")
    assert status == 0
    examples = re.findall(r"^ +spine-models (\S+)", out.partition("Examples:")[2], flags=re.MULTILINE)
    assert examples
    assert set(examples) == {name}
    assert "Args:" not in out


def test_the_help_names_every_command(capsys):
    status, out, _ = outcome(capsys, "--help")
    assert status == 0
    assert [name for name in NAMES if f"\n  {name} " not in out] == []
    assert "..." not in out.partition("Commands:")[2], "the first sentence of a command's docstring must fit its line"


def test_the_version_is_that_of_the_installed_package(capsys):
    assert outcome(capsys, "--version") == (0, f"spine_models {version('spine_models')}\n", "")


def test_every_module_that_declares_a_command_is_listed():
    files = {path.stem for path in (ROOT / "spine_models/commands").glob("*.py") if "typer.Option" in path.read_text()}
    assert files - {"app"} <= {command.__name__ for command in COMMANDS}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "Missing command; see `spine-models --help`"),
        (["nope"], "No such command 'nope'; see `spine-models --help`"),
        (["check"], "Missing argument 'DIR'; see `spine-models check --help`"),
        (["check", "x", "--bogus"], "No such option: --bogus; see `spine-models check --help`"),
        (["check", "x", "--label-geometry", "a"], "'a' is not one of 'affine', 'index'"),
        (["check", "x", "--processes", "-1"], "'--processes'"),
        (["predict", "--threads", "0", "--bundle=b", "--studies=s", "--out=o"], "'--threads'"),
        (["phantom", "--out"], "'--out' requires an argument"),
        (["phantom", "--out", "x", "--subtle", "1", "2"], "'--subtle' requires 4 arguments"),
        (["prune-state", "nowhere"], "nowhere is not a folder: give the output_dir of a run"),
        (["summary", "nowhere"], "nowhere is not a folder"),
        (["resources", "--configfile", "nowhere.yaml"], "nowhere.yaml cannot be read as an overlay"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_1(capsys, arguments, named):
    status, out, error = outcome(capsys, *arguments)
    assert (status, out) == (1, "")
    assert error.startswith("error: ")
    assert named in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in NAMES), ["predict"]], ids=" ".join)
def test_help_and_mistakes_wait_for_no_heavy_import(arguments):
    program = (
        "import json, sys\n"
        "from spine_models.commands.app import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit:\n    sys.stderr.write('MODULES ' + json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    imported = set(json.loads(done.stderr.partition("MODULES ")[2]))
    assert "typer" in imported
    assert imported & HEAVY == set()


def test_the_console_command_and_the_package_run_the_same():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["spine-models"].partition(":")
    assert getattr(import_module(module), function) is main
    command = [sys.executable, "-m", "spine_models", "nope"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: No such command 'nope'; see `spine-models --help`\n"
