"""Which shard a study belongs to."""

from __future__ import annotations

import hashlib


def shard_of(study: str, shards: int) -> int:
    """Return the shard of ``study``, 0 to ``shards - 1``; the same on every machine and in every release."""
    return int(hashlib.sha256(study.encode("utf-8")).hexdigest()[:8], 16) % shards
