"""The configuration as a person wrote it, checked before any job starts.

The schema says what each key may be. What is wrong becomes one sentence that names the key, its value and what is
allowed (``schema_check``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spine_models.configuration.contradictions import contradictions
from spine_models.configuration.earlier import earlier_keys
from spine_models.configuration.paths import anchored
from spine_models.configuration.schema import load_schema, resolved
from spine_models.errors import UserError
from spine_models.schema_check import MOST_VALUES, complaint, too_many, types_of

_ADVICE = "take it over from config.yaml"


def checked(config: Mapping[str, Any], schema_path: Path) -> dict[str, Any]:
    """Return ``config`` with values of the schema's types, after every check that needs no data.

    Text from ``--config key=value`` is converted where the schema wants another type (``"4"``, ``"true"``,
    ``"null"``), ``4.0`` becomes 4 where it wants an integer, and nothing (``key=``) the empty text.

    Args:
        config: what Snakemake merged from config.yaml, overlays and the command line.
        schema_path: the JSON schema as YAML.

    Raises:
        UserError: names the keys of an earlier release, or the first key that is unknown, missing, of a wrong type, out
            of range, or at odds with another.
    """
    if too_many(config):
        raise UserError(
            f"configuration: it holds more than {MOST_VALUES} values, or groups inside of each other without end; "
            "write them out instead of using YAML's anchors (&name, *name)"
        )
    schema = load_schema(schema_path)
    values: dict[str, Any] = _converted(dict(config), schema, schema)
    problem = earlier_keys(config) or complaint(values, schema, _ADVICE) or next(contradictions(values), None)
    if problem:
        raise UserError(f"configuration: {problem}")
    return anchored(values)


def _converted(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """Return ``value`` with everything in it converted to the schema's types where that loses nothing."""
    schema = resolved(schema, value, root)
    if isinstance(value, Mapping):
        known, others = schema.get("properties", {}), schema.get("additionalProperties") or {}
        return {key: _converted(item, known.get(key, others), root) for key, item in value.items()}
    if isinstance(value, list):
        return [_converted(item, schema.get("items", {}), root) for item in value]
    types = types_of(schema)
    if isinstance(value, str):
        return _from_text(value, types)
    if isinstance(value, float) and "integer" in types and value.is_integer():
        return int(value)
    if types == ["string"] and (value is None or type(value) is int):
        return "" if value is None else str(value)
    return value


def _from_text(text: str, types: list[str]) -> Any:
    if not types or "string" in types:
        return text
    word = text.strip().lower()
    if "null" in types and word in {"null", "none", "~", ""}:
        return None
    if "boolean" in types and word in {"true", "false"}:
        return word == "true"
    for name, kind in (("integer", int), ("number", float)):
        if name in types:
            try:
                return kind(word)
            except ValueError:
                continue
    return text
