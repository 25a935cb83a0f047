"""From a checked configuration to typed settings."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

S = TypeVar("S")


def settings_from(kind: type[S], config: Mapping[str, Any]) -> S:
    """Build the frozen dataclass ``kind`` from a mapping with exactly its keys; nested dataclasses are built too.

    Snakemake's schema has checked the values before; this makes a drift between the two a loud error.

    Raises:
        TypeError: if a key is missing or unknown.
    """
    hints = typing.get_type_hints(kind)
    values = {name: _convert(hints.get(name), value) for name, value in config.items()}
    return kind(**values)


def _convert(hint: Any, value: Any) -> Any:
    if isinstance(hint, types.UnionType) and types.NoneType in typing.get_args(hint) and value is not None:
        return _convert(typing.get_args(hint)[0], value)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return settings_from(typing.cast("type[Any]", hint), value)
    if typing.get_origin(hint) is tuple and isinstance(value, list):
        inner = typing.get_args(hint)[0]
        return tuple(_convert(inner, item) for item in value)
    if typing.get_origin(hint) is dict and isinstance(value, Mapping):
        inner = typing.get_args(hint)[1]
        return {name: _convert(inner, item) for name, item in value.items()}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint(value)
    is_float = hint is float or (isinstance(hint, types.UnionType) and float in typing.get_args(hint))
    return float(value) if is_float and type(value) is int else value
