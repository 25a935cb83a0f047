"""Install the wheel into fresh environments of several Pythons, and use it there: `make test-all`.

    python -m tools.try_wheel WHEEL [PYTHON ...]

Each environment is made by README.md's two pip commands, in a folder without checkout. Then the console command, the
tiny workflow and a prediction with its bundle run, without network where the machine lets a user make a network of his
own. Without PYTHON: every supported one that is found, but this one.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.tiny import TINY

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.11", "3.12", "3.13")
NO_NETWORK = ("unshare", "--map-root-user", "--net")


def commands_of_readme(wheel: Path) -> list[list[str]]:
    """Return README.md's pip commands with the path of the wheel in the place of its name."""
    lines = re.findall(r"^pip install .*$", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    words = [shlex.split(line, comments=True)[1:] for line in lines]
    return [[str(wheel) if word.endswith(".whl") else word for word in line] for line in words]


def found_pythons() -> list[str]:
    """Return a command for each supported Python but the one that runs this: on the PATH, or else among pyenv's."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = []
    for version in VERSIONS:
        # pyenv's python3.12 on the PATH refuses to start unless that version is chosen.
        names = [f"python{version}", *map(str, pyenv.glob(f"versions/{version}.*/bin/python{version}"))]
        found += [name for name in names if version != here and _starts(name)][:1]
    return found


def _starts(python: str) -> bool:
    found = shutil.which(python)
    return bool(found) and not subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode


def isolation() -> list[str]:
    """Return the words before a command that take the network away; none where this machine does not allow that."""
    if not shutil.which(NO_NETWORK[0]):
        return []
    refused = subprocess.run([*NO_NETWORK, "true"], capture_output=True, check=False).returncode
    return [] if refused else list(NO_NETWORK)


def try_wheel(wheel: Path, python: str) -> None:
    """Install the wheel for ``python`` and use it; a command that fails ends the process with its status.

    Args:
        wheel: the file.
        python: command that starts the interpreter.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _run("environment", [python, "-m", "venv", "environment"], folder)
        bin_folder = folder / "environment/bin"
        for arguments in commands_of_readme(wheel):
            _run("install", [str(bin_folder / "pip"), *arguments, "--quiet"], folder)
        program = [*isolation(), str(bin_folder / "spine-models")]
        _run("help", [*program, "--help"], folder)
        workflow = ["workflow", "--", "--cores", "2", "--quiet", "all", "--configfile", str(TINY)]
        _run("workflow", [*program, *workflow, "--config", "output_dir=tiny"], folder)
        studies = ["--studies", "tiny/phantom/test_images", "--out", "new", "--threads", "2"]
        _run("prediction", [*program, "predict", "--bundle", "tiny/bundle", *studies], folder)
        rows = (folder / "new/predictions.csv").read_text(encoding="utf-8").splitlines()
        print(f"{python}: {len(rows) - 1} studies predicted", flush=True)


def _run(what: str, command: list[str], folder: Path) -> None:
    # Nothing of the checkout or of the environment that runs this may help.
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    begin = time.monotonic()
    process = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, check=False)
    if process.returncode:
        sys.stderr.write(process.stdout[-4000:] + process.stderr[-4000:])
        raise SystemExit(f"error: {what} failed with status {process.returncode}: {shlex.join(command)}")
    print(f"  {what}: {time.monotonic() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    pythons = sys.argv[2:] or found_pythons()
    if not pythons:
        print("no other supported Python is found: nothing is tried")
    for python in pythons:
        print(python, flush=True)
        try_wheel(Path(sys.argv[1]).resolve(), python)
