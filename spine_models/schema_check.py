"""Values from outside against a JSON schema: what is wrong becomes one sentence for people.

The schema's own message would print the schema. The configuration, the settings of a bundle and those of a network in
a file of weights are all checked here.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

LARGEST_INTEGER = (1 << 32) - 1
"""Random seeds go up to this; no other number of the configuration comes near it."""
MOST_VALUES = 100_000
_DEEPEST = 50

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


def complaint(value: Any, schema: Mapping[str, Any], advice: str = "") -> str | None:
    """Return a sentence on the first thing in ``value`` that ``schema`` does not allow, or None.

    An integer is one that is written so: ``4.0`` is none. Numbers must be finite, and integers at most
    ``LARGEST_INTEGER``, whatever the schema says.

    Args:
        value: what ``json`` or ``yaml`` read.
        schema: a JSON schema (draft 2020-12) with types for all that it describes.
        advice: what to do about a key that is missing.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match
    from jsonschema.validators import extend

    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, number: type(number) is int)
    strict: Any = extend(Draft202012Validator, type_checker=types)  # type: ignore[no-untyped-call]
    error = best_match(strict(schema).iter_errors(value))
    return _sentence(error, advice) if error is not None else next(_out_of_range("", value), None)


def too_many(value: Any) -> bool:
    """Say whether ``value`` is deeper or larger than any honest configuration.

    YAML's aliases let a few lines stand for billions of values, or for one that holds itself.
    """
    waiting, seen = [(value, 0)], 0
    while waiting:
        item, depth = waiting.pop()
        seen += 1
        inside = list(item.values()) if isinstance(item, Mapping) else item if isinstance(item, list) else []
        if depth > _DEEPEST or seen + len(waiting) + len(inside) > MOST_VALUES:
            return True
        waiting += [(part, depth + 1) for part in inside]
    return False


def types_of(schema: Mapping[str, Any]) -> list[str]:
    """Return the names of the types that ``schema`` allows."""
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else list(types)


def join(path: str, key: Any) -> str:
    """Return the dotted name of ``key`` inside ``path``."""
    return f"{path}.{key}" if path else str(key)


def shown(value: Any) -> str:
    """Return ``value`` as a person wrote it in YAML, cut to 60 characters."""
    words = {"None": "null", "True": "true", "False": "false"}
    try:
        text = words.get(repr(value), repr(value))
    except (ValueError, RecursionError):  # Python writes neither very long numbers nor groups without end
        return "a value too long to show"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _out_of_range(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _out_of_range(join(path, key), item)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _out_of_range(join(path, number), item)
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{path} is {value}, but must be a finite number"
    elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        yield f"{path} has {_digits(value)} digits, but must be at most {LARGEST_INTEGER}"


def _digits(number: int) -> int:
    """Return about how many digits a number has; Python refuses to write very long ones."""
    return int((number.bit_length() - 1) * math.log10(2)) + 1


def _sentence(error: Any, advice: str) -> str:
    path = ".".join(str(part) for part in error.absolute_path)
    schema = cast("dict[str, Any]", error.schema)
    value: Any = error.instance
    if error.validator == "additionalProperties":
        return _unknown_key(path, value, sorted(schema["properties"]))
    if error.validator == "required":
        missing = next(key for key in schema["required"] if key not in value)
        return f"key '{join(path, missing)}' is missing" + (f"; {advice}" if advice else "")
    if error.validator == "pattern":
        return f"{path} holds the name {shown(value)}, but names here are small letters, digits and '-', a letter first"
    hint = ""
    if advice and {"object", "array"}.intersection(types_of(schema)):
        hint = "; such a value is easiest to set in an overlay file (--configfile overlay.yaml)"
    return f"{path or 'it'} is {shown(value)}, but must be {_allowed(schema)}{hint}"


def _unknown_key(path: str, value: Mapping[str, Any], known: list[str]) -> str:
    unknown = next(key for key in value if key not in known)
    name, colon, rest = str(unknown).partition(":")
    if colon and rest and not value[unknown]:
        return f"key '{join(path, unknown)}' is unknown: write a space after the colon, {name}: {rest}"
    near = difflib.get_close_matches(str(unknown), known, n=1)
    proposal = f"did you mean '{near[0]}'?" if near else f"allowed here are {', '.join(known)}"
    return f"key '{join(path, unknown)}' (value {shown(value[unknown])}) is unknown; {proposal}"


def _allowed(schema: Mapping[str, Any]) -> str:
    """Say in words what ``schema`` accepts."""
    if "enum" in schema:
        return "one of " + ", ".join(str(item) for item in schema["enum"])
    if schema.get("minLength"):
        return "text that is not empty"
    kinds = " or ".join(_TYPE_NAMES[name] for name in types_of(schema))
    bounds = [form.format(schema[name]) for name, form in _BOUNDS.items() if name in schema]
    if "minItems" in schema:
        bounds.append(f"with {schema['minItems']} items" if "maxItems" in schema else "not empty")
    if schema.get("uniqueItems"):
        bounds.append("each item once")
    listed = ", ".join(bounds[:-1]) + " and " + bounds[-1] if len(bounds) > 1 else "".join(bounds)
    return f"{kinds}, {listed}" if listed else kinds
