"""How a file of published weights is fetched without ever being half there."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO, NamedTuple

from spine_models.errors import UserError
from spine_models.models.published import MODEL_ZOO, PUBLISHED
from spine_models.provenance.canonical import digest_file
from spine_models.provenance.files import write_text

_DIGITS = re.compile(r"-([0-9a-f]{8})\.pth$")
_TIMEOUT_S = 60.0
_CHUNK_BYTES = 1 << 20
_TEMPORARY_STATUS = (408, 425, 429)


class Retries(NamedTuple):
    """How often a download is tried, and how long to wait: ``wait_s``, then twice as long each time."""

    attempts: int = 6
    wait_s: float = 2.0


def fetch(name: str, out: Path, source: str, retries: Retries | None = None) -> str:
    """Bring the checkpoint ``name`` to ``out`` and return its SHA-256.

    The SHA-256 must begin with the eight digits at the end of the name. It is recorded in ``<out>.sha256`` (in the
    format of ``sha256sum``) on first use; where that file exists, the checkpoint must have exactly this SHA-256,
    so that a person can pin it beforehand. Bytes of an interrupted download wait in ``.<name>.part`` and are
    continued where the server can, otherwise the download starts again; ``out`` appears by a rename, complete.

    Args:
        name: file name of the checkpoint.
        out: where to put it.
        source: "model_zoo", or a path, ``file://`` or ``http(s)://`` URL of the file or of the folder that holds it.
        retries: for http(s) sources.

    Raises:
        UserError: if the file cannot be had or is not the one that its name or the recorded SHA-256 says.
    """
    expected = _expected(name, out)
    address = locate(name, source)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")
    with _exclusive(part) as stream:
        continued = part.stat().st_size > 0
        sha256 = _fill(address, part, stream, retries or Retries())
        if continued and not sha256.startswith(expected):
            # What was left over may have been of another file.
            stream.truncate(0)
            sha256 = _fill(address, part, stream, retries or Retries())
        if not sha256.startswith(expected):
            part.unlink()
            raise UserError(
                f"{address} has the SHA-256 {sha256} but should have {expected}: it is damaged or another file; "
                f"correct `pretrained`, or remove {_record_path(out)} if that is what is wrong, and run again"
            )
        part.replace(out)
    write_text(_record_path(out), f"{sha256}  {out.name}\n")
    return sha256


def locate(name: str, source: str) -> str:
    """Return the URL or the path of the checkpoint ``name`` in ``source`` (see ``fetch``).

    Raises:
        UserError: if the model zoo has no such checkpoint, or the source is of an unknown kind or an address without a
            host.
    """
    if source == "model_zoo":
        folders = {published.file: published.folder for published in PUBLISHED.values()}
        if name not in folders:
            raise UserError(f"the model zoo has no {name}: use one of {', '.join(folders)}")
        return f"{MODEL_ZOO}/{folders[name]}/{name}"
    try:
        url = urllib.parse.urlsplit(source)
        host, _ = url.hostname, url.port
    except ValueError:  # a bracket that is not closed, a port beyond 65535
        raise UserError(f"pretrained: {source} is not an address: write http://HOST/FOLDER, or a path") from None
    if url.scheme in ("http", "https"):
        if not host:
            raise UserError(f"pretrained: {source} names no host: write http://HOST/FOLDER, or a path")
        return source if url.path.endswith(".pth") else f"{source.rstrip('/')}/{urllib.parse.quote(name)}"
    if "://" in source and url.scheme != "file":
        raise UserError(f"pretrained: {source} is neither a path nor a file://, http:// or https:// URL")
    path = Path(urllib.request.url2pathname(url.path) if url.scheme == "file" else source).expanduser()
    return str(path / name if path.is_dir() else path)


@contextmanager
def _exclusive(part: Path) -> Iterator[BinaryIO]:
    """Open ``part`` for appending, for one process at a time."""
    with part.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{part} is being written by another process: wait until it ends") from None
        yield stream


def _fill(address: str, part: Path, stream: BinaryIO, retries: Retries) -> str:
    """Bring the whole file at ``address`` into ``part``, open as ``stream``, and return its SHA-256."""
    if urllib.parse.urlsplit(address).scheme in ("http", "https"):
        _download(address, stream, retries)
    else:
        _copy(Path(address), stream)
    stream.flush()
    os.fsync(stream.fileno())
    return digest_file(part)


def _copy(path: Path, stream: BinaryIO) -> None:
    if not path.is_file():
        raise UserError(
            f"{path} does not exist: put the checkpoint there, or set `pretrained` to where it is or to none"
        )
    stream.truncate(0)
    with path.open("rb") as source:
        shutil.copyfileobj(source, stream, _CHUNK_BYTES)


def _download(url: str, stream: BinaryIO, retries: Retries) -> None:
    """Append to ``stream`` what is still missing of ``url``, in as many attempts as are allowed."""
    reason = ""
    for attempt in range(retries.attempts):
        if attempt:
            time.sleep(retries.wait_s * 2 ** (attempt - 1))
        try:
            if _continue(url, stream):
                return
            reason = "the connection broke off"
        except urllib.error.HTTPError as error:
            reason = f"{error.code} {error.reason}"
            if error.code < 500 and error.code not in _TEMPORARY_STATUS:
                break
        except (OSError, HTTPException) as error:
            reason = str(error)
    raise UserError(
        f"{url} could not be fetched ({reason}): run the same command again, or get the file elsewhere and set "
        "`pretrained` to its folder, or to none to train from scratch"
    )


def _continue(url: str, stream: BinaryIO) -> bool:
    """Ask for the bytes that follow those in ``stream``; return whether the file is complete."""
    have = stream.seek(0, os.SEEK_END)
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return True  # no byte is behind those that are here: the SHA-256 decides whether they are the file
        raise
    with response:
        if response.status != 206:
            stream.truncate(0)
        expected = response.headers.get("Content-Length")
        received = 0
        while chunk := response.read(_CHUNK_BYTES):
            stream.write(chunk)
            received += len(chunk)
    return expected is None or received == int(expected)


def _record_path(out: Path) -> Path:
    return out.with_name(f"{out.name}.sha256")


def _expected(name: str, out: Path) -> str:
    """Return what the SHA-256 must begin with: the recorded one, or the digits in the name."""
    digits = _DIGITS.search(name)
    if digits is None:
        raise UserError(f"{name} does not end in the first eight digits of its SHA-256 and .pth: check the name")
    record = _record_path(out)
    words = record.read_text(encoding="utf-8").split() if record.is_file() else [digits[1]]
    if not words or not words[0].startswith(digits[1]):
        raise UserError(f"{record} does not begin with the digits {digits[1]} of {name}: correct or remove it")
    return words[0]
