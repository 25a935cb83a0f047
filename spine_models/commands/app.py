"""The console command ``spine-models``: every subcommand is one module of this room and one entry here.

The modules declare their arguments and import the rest of the library inside of the command, so that ``--help`` and a
usage error wait neither for torch nor for pandas.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence

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
    try:
        status = _app()(arguments, prog_name=PROGRAM, standalone_mode=False)
    except typer.TyperException as error:
        sentence = error.format_message().replace("Value error, ", "").rstrip(".")
        context: typer.Context | None = getattr(error, "ctx", None)
        path = context.command_path if context else PROGRAM
        raise UserError(f"{sentence}; see `{path} --help`") from None
    if status == INTERRUPTED:
        raise KeyboardInterrupt  # which Typer turned into a status without a word
    raise SystemExit(status or 0)


def _app() -> typer.Typer:
    app = typer.Typer(
        help="Find fractures of the cervical spine in CT: the workflow, and everything beside it.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    for command in COMMANDS:
        description = inspect.getdoc(command) or ""
        text = description.replace("Examples:", f"{_KEEP_LINES}Examples:")
        # Options of snakemake that stand before the -- are passed on as those behind it.
        app.command(help=text, context_settings={"ignore_unknown_options": command is workflow})(command)
    return app
