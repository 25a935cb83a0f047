"""Run the workflow from wherever the package is installed."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from spine_models.errors import UserError

_CONFIG = ("--config", "-C")
_OVERLAYS = ("--configfile", "--configfiles")
_OF_WORKFLOW = "--workflow-profile"
_PROFILES = (_OF_WORKFLOW, "--profile")
_NO_PROFILE = "none"
"""In the place of a profile, Snakemake's word for using none."""
_FLAGS = ("-n", "--dry-run", "--dryrun", "-p", "--printshellcmds", "-F", "--forceall", "-k", "--keep-going")
"""Options of Snakemake that take no value: a word after one is a target."""
_RULE = re.compile(r"^rule (\w+):", re.MULTILINE)
_KEY = re.compile(r"[a-zA-Z_][\w-]*\w")
"""What Snakemake takes as a key of ``--config``."""


def workflow(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="-- ARGUMENTS", help="What snakemake is to be given.")
    ] = None,
) -> None:
    """Run the workflow, from a checkout or an installed wheel.

    Everything after -- is for snakemake, whose Snakefile is found by itself. A preset or profile that is not in the
    current folder is taken from the workflow's own. Results go to output_dir in the current folder.

    Examples:
      spine-models workflow -- --cores 8 --config dataset_dir=/data/rsna
      spine-models workflow -- --dry-run --configfile presets/laptop-16g.yaml --config dataset_dir=/data/rsna
      spine-models workflow -- --config segmentation='{gpus: 1}'
    """
    from spine_models.configuration.workflow_files import require_current_folder, workflow_root

    require_current_folder()
    root = workflow_root()
    words = checked_arguments(arguments or [], root)
    sys.stdout.flush()
    # Snakemake takes this process's place: it gets Ctrl-C and answers with its own exit status.
    os.execv(sys.executable, [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile"), *words])


def checked_arguments(arguments: Sequence[str], root: Path) -> list[str]:
    """Return the arguments for Snakemake, with presets and profiles found, after those checks that it makes by a trace.

    Args:
        arguments: of Snakemake.
        root: folder of the workflow.

    Raises:
        UserError: for a key of ``--config`` that Snakemake refuses, an overlay that cannot be read, a profile that is
            not there, or an unknown rule.
    """
    from spine_models.configuration.overlays import read_overlay

    words = []
    for option, word in _with_options(arguments):
        if option in _CONFIG:
            _require_key(word)
        if not option and not word.startswith("-"):
            _require_rule(word, root)
        if option in (*_OVERLAYS, *_PROFILES):
            word = _found(word, root)  # noqa: PLW2901
        if option in _OVERLAYS:
            read_overlay(Path(word))
        if option in _PROFILES:
            _require_profile(option, word, root)
        words.append(word)
    return words


def _with_options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (the option that a word belongs to, word); the options themselves belong to none."""
    option = ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not argument.startswith("-"):
            yield "" if option in _FLAGS else option, argument
            # A profile is one word; what follows is a target.
            option = "" if option in _PROFILES else option
        elif equals and name.startswith("--"):
            yield "", name
            yield name, value
            option = "" if name in _PROFILES else name
        else:
            yield "", argument
            option = argument


def _require_key(entry: str) -> None:
    key, equals, value = entry.partition("=")
    if not equals:
        raise UserError(f"--config {entry} is not KEY=VALUE: write for example --config dataset_dir=/data/rsna")
    if "." in key:
        raise UserError(f"--config {entry} names a key by dots: write --config {_nested(key, value)}")
    if not _KEY.fullmatch(key):
        raise UserError(f"--config {entry}: {key!r} is not a key of config.yaml: see there for the keys")


def _require_profile(option: str, name: str, root: Path) -> None:
    """Refuse a profile that Snakemake would not find: it goes on without one of a workflow, and says nothing.

    The jobs that a profile sends to a cluster would run on the machine where the command was given.
    """
    if name == _NO_PROFILE:
        return
    if not name:
        raise UserError(f"{option} is empty: give the folder of a profile, or {_NO_PROFILE}")
    if option == _OF_WORKFLOW:
        places = [Path(), Path("profiles"), root / "profiles"]
    else:
        from snakemake.common import get_appdirs

        folders = get_appdirs()
        places = [Path(), Path(folders.user_config_dir), Path(folders.site_config_dir)]
    if not any((place / name).exists() for place in places):
        own = sorted(folder.name for folder in (root / "profiles").glob("*/"))
        near = difflib.get_close_matches(Path(name).name, own, n=1)
        known = " and ".join(f"profiles/{folder}" for folder in own)
        proposal = f"did you mean profiles/{near[0]}?" if near else f"the workflow has {known}"
        raise UserError(f"{option} {name} is not there: {proposal}")


def _require_rule(word: str, root: Path) -> None:
    """Refuse a target that is neither a rule nor, by its looks, a file."""
    if "/" in word or "." in word:
        return
    rules = [name for file in sorted((root / "rules").glob("*.smk")) for name in _RULE.findall(file.read_text("utf-8"))]
    if word not in (*rules, "all"):
        near = difflib.get_close_matches(word, rules, n=1)
        proposal = f"did you mean '{near[0]}'?" if near else "`spine-models workflow -- --list-rules` shows them"
        raise UserError(f"'{word}' is not a rule of the workflow; {proposal}")


def _nested(key: str, value: str) -> str:
    """Return a dotted key and its value as Snakemake wants them: a.b.c, 1 becomes a='{b: {c: 1}}'."""
    first, *others = key.split(".")
    for name in reversed(others):
        value = f"{{{name}: {value}}}"
    return f"{first}='{value}'"


def _found(name: str, root: Path) -> str:
    """Return the path of a preset or profile: as given, or in the workflow's folder where only that is there."""
    return str(root / name) if not Path(name).exists() and (root / name).exists() else name
