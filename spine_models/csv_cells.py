"""Our own CSV files: what a spreadsheet would take for a formula is written as text, and read back as it was.

A cell that begins with one of ``= + - @``, a tab or a line break is a formula to common spreadsheets, and the
description of a series or the name of a folder may begin with anything. Such a cell gets an apostrophe in front, by
which spreadsheets know text. Numbers stay as they are, and ids never begin so.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

# Signs of full width count too: spreadsheets of East Asia take them for the narrow ones.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table as CSV text, with a line feed at the end of each row."""
    stream = io.StringIO()
    write_rows(stream, header, rows)
    return stream.getvalue()


def write_rows(stream: TextIO, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table as ``csv_text`` returns it, a row at a time."""
    writer = csv.writer(_LineFeeds(stream))
    writer.writerow(header)
    writer.writerows([_as_text(cell) for cell in row] for row in rows)


def csv_rows(stream: TextIO) -> Iterator[dict[str, str]]:
    """Yield the rows of a table that ``csv_text`` wrote, by the names in its header."""
    for row in csv.DictReader(stream):
        yield {name: _as_it_was(cell) for name, cell in row.items()}


class _LineFeeds:
    """Ends rows with only a line feed; a writer told to do so would leave a carriage return in a cell unquoted."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, row: str) -> int:
        """Write one row."""
        return self._stream.write(row.removesuffix("\r\n") + "\n")


def _as_text(cell: Any) -> Any:
    if isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def _as_it_was(cell: str) -> str:
    # An apostrophe that was there before has got another in front, so that taking one away is always right.
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
