"""The console command ``spine-models``: every subcommand is one module of this room and one entry here.

The modules declare their arguments and import the rest of the library inside of the command, so that ``--help`` and a
usage error wait neither for torch nor for pandas.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

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
_PACKAGE = "spine_models"
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
        # Typer lists what an argument may be on lines of their own.
        sentence = error.format_message().replace("Value error, ", "").replace("\n\t", " ").rstrip(".")
        context: typer.Context | None = getattr(error, "ctx", None)
        path = context.command_path if context else PROGRAM
        raise UserError(f"{sentence}; see `{path} --help`") from None
    if status == INTERRUPTED:
        raise KeyboardInterrupt  # which Typer turned into a status without a word
    raise SystemExit(status or 0)


class _Command(TyperCommand):
    """A subcommand that refuses empty paths, and whose every mistake points to its own help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words behind the subcommand.

        Args:
            ctx: Typer's, of a class that it does not export.
            args: the words.

        Raises:
            UserError: for an empty path, which ``Path`` takes for the current folder.
        """
        words = list(args)
        try:
            rest = super().parse_args(ctx, args)
        except typer.TyperException as error:
            if getattr(error, "ctx", None) is None:
                error.ctx = ctx  # type: ignore[attr-defined]  # an option that lacks its argument knows none
            raise
        given, _, _ = self.make_parser(ctx).parse_args(args=words)
        for parameter in self.params:
            texts, values = _several(given.get(parameter.name)), _several(ctx.params.get(parameter.name))
            if "" in texts and any(isinstance(value, Path) for value in values):
                option = parameter.opts[0]
                named = option if option.startswith("-") else parameter.metavar
                raise UserError(f"{named} is an empty path: give one; a variable of the shell may not be set")
        return rest


def _several(found: Any) -> Sequence[Any]:
    return found if isinstance(found, list | tuple) else (found,)


def _said_version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        typer.echo(f"{_PACKAGE} {version(_PACKAGE)}")
    except PackageNotFoundError:
        raise UserError(
            f"{_PACKAGE} is not installed in {sys.prefix}, and its version is not known: run `make .venv`"
        ) from None
    raise typer.Exit


def _before(
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_said_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before a subcommand."""


def _app() -> typer.Typer:
    app = typer.Typer(
        help="Find fractures of the cervical spine in CT: the workflow, and everything beside it.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback(help=app.info.help)(_before)
    for command in COMMANDS:
        description = inspect.getdoc(command) or ""
        text = description.replace("Examples:", f"{_KEEP_LINES}Examples:")
        # Options of snakemake that stand before the -- are passed on as those behind it.
        settings = {"ignore_unknown_options": command is workflow}
        app.command(cls=_Command, help=text, context_settings=settings)(command)
    return app
