"""The console command ``spine-models``: every subcommand is one module of this room and one entry here.

The modules declare their arguments and import the rest of the library inside of the command, so that ``--help`` and a
usage error wait neither for torch nor for pandas.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import sys
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import typer

from spine_models.commands.accept import accept
from spine_models.commands.bundle import bundle
from spine_models.commands.check import check
from spine_models.commands.import_published import import_published
from spine_models.commands.lineage import lineage
from spine_models.commands.phantom import phantom
from spine_models.commands.predict import predict
from spine_models.commands.prune_state import prune_state
from spine_models.commands.resources import resources
from spine_models.commands.status import status
from spine_models.commands.summary import summary
from spine_models.commands.view import view
from spine_models.commands.why import why
from spine_models.commands.workflow import workflow
from spine_models.errors import INTERRUPTED, UserError, run_command
from spine_models.log import show

PROGRAM = "spine-models"
COMMANDS: tuple[Callable[..., None], ...] = (
    accept,
    bundle,
    check,
    import_published,
    lineage,
    phantom,
    predict,
    prune_state,
    resources,
    status,
    summary,
    view,
    why,
    workflow,
)
_KEEP_LINES = "\b\n"
"""Before a paragraph: the help keeps its lines as they are."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the subcommand that the command line names.

    Args:
        arguments: the subcommand and its arguments; None: those of the process.

    Raises:
        SystemExit: with status 1 and one sentence after a mistake on the command line or a ``UserError``, with the
            subcommand's own status otherwise.
    """
    # A name that the terminal cannot show must not end the command.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    run_command(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> None:
    words = list(sys.argv[1:] if arguments is None else arguments)
    _require_folder()
    _require_values(words)
    try:
        status = _app()(words, prog_name=PROGRAM, standalone_mode=False)
    except typer.TyperException as error:
        # A list of choices comes on lines of its own.
        sentence = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
        known = words and words[0].replace("-", "_") in {command.__name__ for command in COMMANDS}
        path = f"{PROGRAM} {words[0]}" if known else PROGRAM
        raise UserError(f"{sentence}; see `{path} --help`") from None
    if status == INTERRUPTED:
        raise KeyboardInterrupt  # which Typer turned into a status without a word
    raise SystemExit(status or 0)


def _require_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UserError("the current folder is not there any more: change to another one") from None


def _require_values(words: Sequence[str]) -> None:
    """Refuse what a shell makes of a variable that is not set: as a path it would be the current folder."""
    before = PROGRAM
    for word in takewhile(lambda word: word != "--", words):
        name, equals, value = word.partition("=")
        if not word or (equals and not value and name.startswith("--")):
            raise UserError(f"there is nothing after {name or before}: give a value")
        before = word


def _say_version(asked: bool) -> None:
    if asked:
        show(f"{PROGRAM} {importlib.metadata.version('spine_models')}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Find fractures of the cervical spine in CT: the workflow, and everything beside it."""


def _app() -> typer.Typer:
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for command in COMMANDS:
        description = inspect.getdoc(command) or ""
        text = description.replace("Examples:", f"{_KEEP_LINES}Examples:")
        # Options of snakemake that stand before the -- are passed on as those behind it.
        app.command(help=text, context_settings={"ignore_unknown_options": command is workflow})(command)
    return app
