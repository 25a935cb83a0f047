"""What a rule hands to its script: the part of the configuration that decides what it makes, and its code's digest."""

from __future__ import annotations

import argparse
import dataclasses
import json
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from spine_models.provenance.seen import SeenFiles

Inputs = TypeVar("Inputs")


def stage_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments that every rule passes to its script.

    ``--config`` is the part of the configuration that decides what the rule makes, as canonical JSON. ``--set``
    adds keys that only decide how the job runs (device, workers ...): the workflow keeps them out of ``--config`` so
    that changing them reruns nothing. ``--code`` is the fingerprint of the script and of everything that it imports
    from ``spine_models``. ``--seen`` names files of the user's, and stops the script where one has another content than
    the plan found: the result would be kept as that of the content that was found. A script that has read them calls
    ``args.seen.require_unchanged()``.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", type=_json_object, default={}, metavar="JSON", help="configuration of the stage")
    parser.add_argument(
        "--set", action=_SetKeys, nargs="+", metavar="KEY=VALUE", help="further keys, dotted; stands after --config"
    )
    parser.add_argument("--code", default="", metavar="DIGEST", help="fingerprint of the code that runs")
    parser.add_argument(
        "--seen",
        action=_Seen,
        nargs="+",
        default=SeenFiles(),
        metavar="DIGEST=FILE",
        help="the user's files as they were when this was planned",
    )
    return parser


def add_inputs(parser: argparse.ArgumentParser, kind: type[Any]) -> None:
    """Add an option for each field of ``kind``, a dataclass of the files that a stage reads: --train-csv for train_csv.

    A field is a path, a path or None, or a sequence of paths; one with a default or None may be left out.
    """
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        required = field.default is dataclasses.MISSING and type(None) not in typing.get_args(hint)
        several = typing.get_origin(hint) is Sequence
        default = None if field.default is dataclasses.MISSING else field.default
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=Path,
            nargs="+" if several else None,
            required=required,
            default=default,
            metavar="FILE",
        )


def inputs_from(kind: type[Inputs], args: argparse.Namespace) -> Inputs:
    """Return the files that the options of ``add_inputs`` named."""
    return kind(**{field.name: getattr(args, field.name) for field in dataclasses.fields(typing.cast("Any", kind))})


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


class _Seen(argparse.Action):
    """Look at each file of ``DIGEST=FILE``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        namespace.seen = SeenFiles([str(word) for word in values or ()])


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
