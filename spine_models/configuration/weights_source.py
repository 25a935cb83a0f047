"""Where published weights come from, looked at before the first job."""

from __future__ import annotations

import urllib.parse
from pathlib import Path

from spine_models.errors import UserError
from spine_models.provenance.canonical import digest_file


def require_source(name: str, source: str) -> None:
    """Check that ``source`` holds the checkpoint ``name``, where it is on a disk; the network is asked by the job.

    Args:
        name: file name of the checkpoint.
        source: ``pretrained`` of the configuration.

    Raises:
        UserError: if a folder or file is not there or is another file, or the source is of an unknown kind.
    """
    from spine_models.models.pretrained_download import locate

    address = locate(name, source)
    if urllib.parse.urlsplit(address).scheme in ("http", "https"):
        return
    if Path(address).is_file():
        digits = name.rpartition("-")[2].removesuffix(".pth")
        if not digest_file(Path(address)).startswith(digits):
            raise UserError(
                f"pretrained is {source}, but {address} is another file than {name}, or damaged: its SHA-256 must "
                f"begin with {digits}"
            )
        return
    raise UserError(
        f"pretrained is {source}, but {address} is not there: put the file {name} into that folder, or set pretrained "
        "to model_zoo, or to none to train from scratch"
    )
