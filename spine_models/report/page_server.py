"""Pages of a run for a browser on the same machine, where it does not open files from disk."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LOOPBACK = "127.0.0.1"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".png": "image/png",
    ".gz": "application/gzip",
    ".dcm": "application/dicom",
    ".csv": "text/csv; charset=utf-8",
}
"""What is served, by the last suffix; of tables only ``TABLES``."""
TABLES = frozenset({"predictions.csv", "submission.csv"})
"""``inventory.csv`` holds the paths of the files that were read, which may be people's names."""


class PageServer(ThreadingHTTPServer):
    """Serves the pages below a folder at an address that nobody guesses, only to this machine.

    Attributes:
        address: of the folder's ``index.html``.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        """Listen on a free port of the loopback interface; ``serve_forever`` answers.

        Args:
            folder: holds ``index.html``.
        """
        super().__init__((LOOPBACK, 0), _Handler)
        self.folder = folder.resolve()
        self.token = secrets.token_urlsafe(16)
        self.host = f"{LOOPBACK}:{self.server_address[1]}"
        self.address = f"http://{self.host}/{self.token}/index.html"

    def path_of(self, address: str) -> Path | None:
        """Return the file that an address of a request names, or None where it names none that is served."""
        parts = unquote(urlsplit(address).path).split("/")
        if len(parts) < 3 or parts[0] or not secrets.compare_digest(parts[1].encode(), self.token.encode()):
            return None
        names = parts[2:]
        if any(not name or name.startswith(".") or "\\" in name or "\0" in name for name in names):
            return None
        path = self.folder.joinpath(*names)
        if path.suffix not in TYPES or (path.suffix == ".csv" and path.name not in TABLES):
            return None
        if any(place.is_symlink() for place in _between(self.folder, path)) or not path.is_file():
            return None
        return path

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing where a browser no longer wants an answer, as it does with pictures when a page is left."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _between(folder: Path, path: Path) -> Iterator[Path]:
    while path != folder:
        yield path
        path = path.parent


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        # Another site that a browser shows may send requests here under its own name.
        path = self.server.path_of(self.path) if self.headers.get("Host") == self.server.host else None
        try:
            content = None if path is None else path.read_bytes()
        except OSError:  # a prediction that runs meanwhile may have removed it
            content = None
        if path is None or content is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", TYPES[path.suffix])
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        return "spine-models"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: addresses hold the token."""
