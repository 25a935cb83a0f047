"""Descriptions of bundles with checksums that fit, whatever they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spine_models.inference.bundle_description import DESCRIPTION, SCHEMA
from spine_models.inference.solution_settings import OUR_SETTINGS
from spine_models.levels import LEVELS, TARGETS
from spine_models.provenance.canonical import digest_json


def entry(name: str, sha256: str = "5" * 64) -> dict[str, Any]:
    """Return what a description says of a network; its file need not be there."""
    return {"file": f"{name}.safetensors", "bytes": 1, "sha256": sha256, "name": name}


def write_description(folder: Path, **changes: Any) -> Path:
    """Write a description of one network for each stage, with ``changes`` and a checksum that fits them."""
    content = {
        "schema": SCHEMA,
        "levels": list(LEVELS),
        "targets": list(TARGETS),
        "settings": OUR_SETTINGS,
        "prior": dict.fromkeys(TARGETS, 0.5),
        "phantom": False,
        "segmentation": [entry("csn_unet-0")],
        "classification": [entry("ir-0")],
        "provenance": {},
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / DESCRIPTION
    path.write_text(json.dumps(content | {"digest": digest_json(content)}))
    return path


def change_description(folder: Path, **changes: Any) -> None:
    """Change values of a bundle's description, and its checksum with them."""
    content = json.loads((folder / DESCRIPTION).read_text()) | changes
    content.pop("digest")
    (folder / DESCRIPTION).write_text(json.dumps(content | {"digest": digest_json(content)}))
