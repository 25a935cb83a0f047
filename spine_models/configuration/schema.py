"""The schema of the configuration.

It is ``rules/config.schema.yaml``, with what the library says of networks, weights and settings
that a bundle holds too.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from spine_models.inference.settings_schema import DEFINITIONS
from spine_models.models.networks import KIND, KINDS, Stage, kinds_of
from spine_models.models.published import NONE, PUBLISHED

Schema = Mapping[str, Any]


@cache
def load_schema(path: Path) -> Schema:
    """Read the schema at ``path`` and add the definitions that its references to the registries need."""
    schema: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    schema["$defs"] |= {
        **DEFINITIONS,
        "segmentation_network": _network("segmentation"),
        "classification_network": _network("classification"),
        "weights": {"type": "string", "enum": [*PUBLISHED, NONE]},
    }
    return schema


def resolved(schema: Schema, value: Any, root: Schema) -> Schema:
    """Return ``schema`` without its reference, and with the settings of the kind where ``value`` is a network."""
    if "$ref" in schema:
        schema = {**root["$defs"][schema["$ref"].rsplit("/", 1)[1]], **schema}
    for part in schema.get("allOf", ()):
        if isinstance(value, Mapping) and part["if"]["properties"][KIND]["const"] == value.get(KIND):
            return {**schema, **part["then"]}
    return schema


def _network(stage: Stage) -> dict[str, Any]:
    """Return the schema of a network of ``stage``: its kind, and only the settings of that kind."""
    kinds = kinds_of(stage)
    kind = {"type": "string", "enum": list(kinds), "description": "Which network of the registry."}
    return {
        "type": "object",
        "required": [KIND],
        "properties": {KIND: kind},
        "allOf": [
            {
                "if": {"required": [KIND], "properties": {KIND: {"const": name}}},
                "then": {
                    "additionalProperties": False,
                    "required": [KIND, *KINDS[name].settings],
                    "properties": {KIND: kind, **KINDS[name].settings},
                },
            }
            for name in kinds
        ],
    }
