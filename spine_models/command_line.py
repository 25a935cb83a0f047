"""What the command lines of the workflow's scripts share."""

from __future__ import annotations

import argparse
import json
from typing import Any


def stage_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the two arguments that every rule passes to its script.

    ``--config`` is the part of the configuration that the rule uses, as canonical JSON; ``--code`` is the
    fingerprint of the script and of everything that it imports from ``spine_models``.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", type=_json_object, default={}, metavar="JSON", help="configuration of the stage")
    parser.add_argument("--code", default="", metavar="DIGEST", help="fingerprint of the code that runs")
    return parser


def _json_object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("expected a JSON object")
    return value

