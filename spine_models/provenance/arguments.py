"""What a rule hands to its script: the part of the configuration that decides what it makes, and its code's digest."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any


def stage_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments that every rule passes to its script.

    ``--config`` is the part of the configuration that decides what the rule makes, as canonical JSON. ``--set``
    adds keys that only decide how the job runs (device, workers ...): the workflow keeps them out of ``--config`` so
    that changing them reruns nothing. ``--code`` is the fingerprint of the script and of everything that it imports
    from ``spine_models``.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", type=_json_object, default={}, metavar="JSON", help="configuration of the stage")
    parser.add_argument(
        "--set", action=_SetKeys, nargs="+", metavar="KEY=VALUE", help="further keys, dotted; stands after --config"
    )
    parser.add_argument("--code", default="", metavar="DIGEST", help="fingerprint of the code that runs")
    return parser


def _json_object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("expected a JSON object")
    return value


class _SetKeys(argparse.Action):
    """Put each ``KEY=VALUE`` into the configuration that ``--config`` gave; values are JSON or else plain text."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        config: dict[str, Any] = json.loads(json.dumps(namespace.config))
        for item in values or ():
            key, separator, text = str(item).partition("=")
            if not separator:
                parser.error(f"{option_string} {item}: expected KEY=VALUE")
            *groups, last = key.split(".")
            group = config
            for name in groups:
                group = group.setdefault(name, {})
            group[last] = _value(text)
        namespace.config = config


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
