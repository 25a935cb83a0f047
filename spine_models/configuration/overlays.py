"""Overlays: files of keys that change ``config.yaml``, merged into it in depth as Snakemake merges them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from spine_models.errors import UserError
from spine_models.schema_check import MOST_VALUES, too_many


class _EachKeyOnce(yaml.SafeLoader):
    """Refuses a key that occurs twice in a group, of which YAML's own reader keeps the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return a group of keys."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        problem=f"the key '{key.value}' occurs a second time", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_overlay(path: Path) -> dict[str, Any]:
    """Read one overlay; an empty file changes nothing.

    Raises:
        UserError: if it cannot be read, is not YAML, has a key twice, or holds anything but keys.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _EachKeyOnce)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read as an overlay ({error.strerror}): give the path of a YAML file, such as a preset's"
        ) from None
    except UnicodeDecodeError:
        raise UserError(f"{path} cannot be read as an overlay (it is not UTF-8 text): give a YAML file") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "of an unknown kind"
        raise UserError(f"{path}{line} cannot be read as YAML ({problem}): correct it") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, groups of a thousand levels
        raise UserError(f"{path} holds a number or a group that no configuration has: correct it") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no keys: write lines like `seed: 1`, as in config.yaml")
    if too_many(content):
        raise UserError(
            f"{path} stands for more than {MOST_VALUES} values: write them out instead of using YAML's anchors"
        )
    return content


def merge(into: dict[str, Any], overlay: Mapping[str, Any]) -> None:
    """Change ``into`` by the keys of ``overlay``; groups of keys are merged in depth."""
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value
