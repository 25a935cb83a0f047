"""One reader for every table that a person writes: its delimiter is recognised, a row that does not fit is named."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spine_models.data.dataset.patience import waiting_for_the_disk
from spine_models.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_MOST_COLUMNS = 1000
_EXCEL = re.compile(r"\s*\"?sep=(.)\"?\s*", re.IGNORECASE)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_delimited(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a table as text without surrounding spaces, indexed by the line of the file; blank rows are left out.

    Fields are separated by commas, semicolons or tabs, by one of them throughout; Excel's first line ``sep=;`` is
    understood. Columns beyond ``columns`` stay.

    Args:
        path: the file, in UTF-8 with or without byte-order mark.
        columns: those that it must have.

    Raises:
        UserError: if it cannot be read, lacks a column or has one twice, or a row has more or fewer fields than the
            header; named with its line.
    """
    import pandas as pd

    header, found = _read(path, columns)
    return pd.DataFrame.from_dict(found, orient="index", columns=header, dtype=str)


def read_column(path: Path, name: str) -> list[str]:
    """Read one column of such a table, without pandas.

    Raises:
        UserError: as ``read_delimited``.
    """
    header, found = _read(path, [name])
    number = header.index(name)
    return [row[number] for row in found.values()]


def _read(path: Path, columns: Sequence[str]) -> tuple[list[str], dict[int, list[str]]]:
    """Return the header and, by the line of the file, the rows."""
    lines = _text(path)
    if not any(line.strip() for line in lines):
        raise UserError(f"{path} is empty: it must have the column{'s' * (len(columns) > 1)} {', '.join(columns)}")
    delimiter = _delimiter(lines, columns)
    rows = _rows(path, lines, delimiter)
    header = _without_trailing(next(rows, (1, []))[1])
    lacking = [name for name in columns if name not in header]
    if lacking:
        raise UserError(
            f"{path}, read with {DELIMITERS[delimiter]} between its fields, lacks the column"
            f"{'s' * (len(lacking) > 1)} {', '.join(lacking)}: it must have {', '.join(columns)}"
        )
    if len(header) > _MOST_COLUMNS:
        raise UserError(f"{path} has {len(header)} columns, and {_MOST_COLUMNS} at most are read: leave others out")
    twice = [name for name in columns if header.count(name) > 1]
    if twice:
        raise UserError(f"{path} has the column {twice[0]} twice: remove one")
    return header, {line: _fitting(path, line, row, header, delimiter) for line, row in rows if any(row)}


def _text(path: Path) -> list[str]:
    try:
        data = waiting_for_the_disk(path.read_bytes)
        text = data.decode("utf-8-sig")
        if "\0" in text:
            raise UserError(f"{path} cannot be read as a table (it holds NUL characters): save it as CSV in UTF-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read as a table ({error.strerror}): give a CSV file in UTF-8") from None
    except UnicodeDecodeError:
        kind = "UTF-16" if data.startswith(_UTF16) else "another encoding"
        raise UserError(f"{path} cannot be read as a table (it is in {kind}): save it as CSV in UTF-8") from None
    return io.StringIO(text, newline="").readlines()


def _delimiter(lines: list[str], columns: Sequence[str]) -> str:
    """Take the delimiter that finds most of the columns in the header; a line ``sep=`` is emptied."""
    declared = _EXCEL.fullmatch(lines[0]) if lines else None
    if declared:
        lines[0] = "\n"
    header = next((line for line in lines if line.strip()), "")
    candidates = [declared[1]] if declared and declared[1] in DELIMITERS else list(DELIMITERS)

    def fit(delimiter: str) -> tuple[int, int]:
        names = [name.strip().strip('"') for name in header.split(delimiter)]
        return sum(column in names for column in columns), len(names)

    return max(candidates, key=fit)


def _rows(path: Path, lines: list[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, fields) of every row that is not blank."""
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    begin = 1
    try:
        for row in reader:
            if row:
                yield begin, [field.strip() for field in row]
            begin = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path} line {begin} cannot be read as a row of a table ({error}): correct it") from None


def _without_trailing(names: list[str]) -> list[str]:
    """Leave out columns without a name behind the last that has one: what a row holds there is surplus."""
    return names[: max((number for number, name in enumerate(names, start=1) if name), default=0)]


def _fitting(path: Path, line: int, row: list[str], header: list[str], delimiter: str) -> list[str]:
    """Return a row with as many fields as the header; empty fields beyond it are not a fault."""
    if len(row) < len(header) or any(row[len(header) :]):
        advice = "; a decimal comma is read as a delimiter: write 1.0" if delimiter == "," else ""
        raise UserError(f"{path} line {line} has {len(row)} fields, the header has {len(header)}: correct it{advice}")
    return row[: len(header)]
