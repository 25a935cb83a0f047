"""The configuration as a person wrote it, checked before any job starts.

The schema says what each key may be. What is wrong becomes one sentence that names the key, its value and what is
allowed; the schema's own message would print the schema.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from spine_models.configuration.contradictions import contradictions, join, shown
from spine_models.configuration.schema import load_schema, resolved
from spine_models.errors import UserError

_TYPE_NAMES = {
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "array": "a list",
    "object": "a group of keys",
    "null": "null",
}
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "multipleOf": "a multiple of {}",
}


def checked(config: Mapping[str, Any], schema_path: Path) -> dict[str, Any]:
    """Return ``config`` with values of the schema's types, after every check that needs no data.

    Text from ``--config key=value`` is converted where the schema wants another type (``"4"``, ``"true"``,
    ``"null"``), ``4.0`` becomes 4 where it wants an integer, and nothing (``key=``) the empty text.

    Args:
        config: what Snakemake merged from config.yaml, overlays and the command line.
        schema_path: the JSON schema as YAML.

    Raises:
        UserError: names the first key that is unknown, missing, of a wrong type, out of range, or at odds with another.
    """
    schema = load_schema(schema_path)
    values: dict[str, Any] = _converted(dict(config), schema, schema)
    error = best_match(Draft202012Validator(schema).iter_errors(values))
    if error is not None:
        raise UserError(f"configuration: {_sentence(error)}")
    for complaint in contradictions(values):
        raise UserError(f"configuration: {complaint}")
    return values


def _types(schema: Mapping[str, Any]) -> list[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else list(types)


def _converted(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """Return ``value`` with everything in it converted to the schema's types where that loses nothing."""
    schema = resolved(schema, value, root)
    if isinstance(value, Mapping):
        known, others = schema.get("properties", {}), schema.get("additionalProperties") or {}
        return {key: _converted(item, known.get(key, others), root) for key, item in value.items()}
    if isinstance(value, list):
        return [_converted(item, schema.get("items", {}), root) for item in value]
    types = _types(schema)
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


def _sentence(error: ValidationError) -> str:
    path = ".".join(str(part) for part in error.absolute_path)
    schema = cast("dict[str, Any]", error.schema)
    value: Any = error.instance
    if error.validator == "additionalProperties":
        return _unknown_key(path, value, sorted(schema["properties"]))
    if error.validator == "required":
        missing = next(key for key in schema["required"] if key not in value)
        return f"key '{join(path, missing)}' is missing; take it over from config.yaml"
    if error.validator == "pattern":
        return f"{path} holds the name {shown(value)}, but names here are small letters, digits and '-', a letter first"
    hint = ""
    if {"object", "array"}.intersection(_types(schema)):
        hint = "; such a value is easiest to set in an overlay file (--configfile overlay.yaml)"
    return f"{path} is {shown(value)}, but must be {_allowed(schema)}{hint}"


def _unknown_key(path: str, value: Mapping[str, Any], known: list[str]) -> str:
    unknown = next(key for key in value if key not in known)
    near = difflib.get_close_matches(str(unknown), known, n=1)
    proposal = f"did you mean '{near[0]}'?" if near else f"allowed here are {', '.join(known)}"
    return f"key '{join(path, unknown)}' (value {shown(value[unknown])}) is unknown; {proposal}"


def _allowed(schema: Mapping[str, Any]) -> str:
    """Say in words what ``schema`` accepts."""
    if "enum" in schema:
        return "one of " + ", ".join(str(item) for item in schema["enum"])
    if schema.get("minLength"):
        return "text that is not empty"
    kinds = " or ".join(_TYPE_NAMES[name] for name in _types(schema))
    bounds = [form.format(schema[name]) for name, form in _BOUNDS.items() if name in schema]
    if "minItems" in schema:
        bounds.append(f"with {schema['minItems']} items" if "maxItems" in schema else "not empty")
    if schema.get("uniqueItems"):
        bounds.append("each item once")
    return ", ".join([kinds, *([" and ".join(bounds)] if bounds else [])])
