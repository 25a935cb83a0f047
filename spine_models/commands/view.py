"""Show the pages of a prediction or a report in a browser that does not open files from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spine_models.errors import UserError, ending_on_sigterm


@ending_on_sigterm()
def view(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="Folder that holds the index.html.")],
) -> None:
    """Serve the pages of a run to this machine's browser.

    They are served only on 127.0.0.1, at an address with a random port and a random word, until Ctrl-C. Pages,
    pictures and masks are served, and the tables of probabilities; nothing else in the folder is.

    Examples:
      spine-models view predictions
      spine-models view results/report
    """
    from spine_models.report.page_server import PageServer

    if not (folder / "index.html").is_file():
        raise UserError(f"{folder} has no index.html: give the --out of a prediction, or the report folder of a run")
    with PageServer(folder) as server:
        typer.echo(f"{server.address}\nThe pages are served only to this machine; Ctrl-C ends it.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("ended")
