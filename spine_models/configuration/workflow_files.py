"""Where the workflow is: Snakefile, rules, scripts, configuration, presets and profiles."""

from __future__ import annotations

from pathlib import Path

from spine_models.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED = "workflow"
"""The folder of the package that holds the workflow in a wheel (setup.py)."""


def package_root() -> Path:
    """Return the folder that holds the package: a checkout, or site-packages."""
    return PACKAGE.parent


def require_current_folder() -> None:
    """Refuse to go on where the current folder was removed, which Snakemake and torch answer by a trace.

    Raises:
        UserError: if it was.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UserError("the current folder was removed: change into one that is there (cd)") from None


def workflow_root() -> Path:
    """Return the folder of the Snakefile: the checkout that this package is in, or the copy that a wheel installed.

    Raises:
        UserError: if there is neither.
    """
    for folder in (PACKAGE.parent, PACKAGE / INSTALLED):
        if (folder / "Snakefile").is_file():
            return folder
    raise UserError(
        f"{PACKAGE} came without the workflow: install the wheel that `make wheel` builds, or use a checkout"
    )
