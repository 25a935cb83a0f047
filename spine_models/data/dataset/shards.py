"""Which shard a study belongs to."""

from __future__ import annotations

import hashlib


def shard_of(study: str, shards: int) -> int:
    """Return the shard of ``study``, 0 to ``shards - 1``; the same on every machine and in every release."""
    return int.from_bytes(hashlib.sha256(study.encode("utf-8")).digest()[:4], "big") % shards
