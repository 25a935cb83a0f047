"""Why jobs would run, in words: what changed from what to what, by the keys of the configuration and by modules."""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from spine_models.errors import UserError
from spine_models.log import show

_PARAMS = "Params have changed since last execution: Union of exclusive params before and now across all output: "
_CODE = re.compile(r"[0-9a-f]{16}")
_LATER = "Input files updated by another job"
_UPDATED = "Updated input files: "
_SEEN = "--seen "
_WORDS = (
    ("Missing output files", "its results are missing"),
    ("Set of input files has changed", "it reads other files than before: other shards, folds or variants"),
    ("Software environment definition has changed", "the files in envs/ changed"),
    ("Code has changed", "its command changed"),
    ("Forced execution", "you force it"),
)
_LONGEST = 60
"""Characters of a value that is shown."""


@dataclass
class RuleReasons:
    """Why the jobs of one rule would run.

    Attributes:
        jobs: how many.
        own: reasons in words, in the order in which they come.
        later: jobs that run only because one before them does.
    """

    jobs: int = 0
    own: dict[str, None] = field(default_factory=dict)
    later: int = 0


def why(
    output_dir: Annotated[Path, typer.Argument(metavar="OUTPUT", help="output_dir of the run.")],
    snakemake: Annotated[
        list[str] | None, typer.Argument(metavar="-- ARGUMENTS", help="What you give to snakemake for this run.")
    ] = None,
) -> None:
    """Say in words why jobs would run.

    It asks Snakemake for its plan, and runs and writes nothing.

    Examples:
      spine-models why results -- --config dataset_dir=/data/rsna
      spine-models why demo -- --configfile presets/demo.yaml
    """
    from spine_models.commands.code_differences import planned_jobs
    from spine_models.configuration.workflow_files import workflow_root

    if not output_dir.is_dir():
        raise UserError(f"{output_dir} is not a folder: give the output_dir of a run")
    show(told(reasons(planned_jobs(workflow_root(), snakemake or []), output_dir)))


def reasons(plan: str, output_dir: Path) -> dict[str, RuleReasons]:
    """Return why each rule of a plan would run.

    Args:
        plan: from ``code_differences.planned_jobs``.
        output_dir: of the run, which knows what its code was made from.
    """
    from spine_models.commands.code_differences import reasons_of_jobs

    found: dict[str, RuleReasons] = defaultdict(RuleReasons)
    for stage, parts in reasons_of_jobs(plan):
        rule = found[stage]
        rule.jobs += 1
        own = [words for part in parts for words in _in_words(part, stage, output_dir)]
        rule.own |= dict.fromkeys(own)
        rule.later += not own
    return dict(found)


def told(rules: dict[str, RuleReasons]) -> str:
    """Return lines for people: rules with a reason of their own first, then what runs because of them."""
    own = {name: rule for name, rule in rules.items() if rule.own}
    if not rules:
        return "nothing would run"
    lines = []
    for name, rule in own.items():
        lines.append(f"{name} ({_jobs(rule.jobs)}):")
        lines += [f"  {words}" for words in rule.own]
    after = [f"{name} ({rule.jobs})" for name, rule in rules.items() if not rule.own]
    if after:
        lines.append(f"because those run, as far as their results differ: {', '.join(after)}")
    return "\n".join(lines)


def _jobs(number: int) -> str:
    return "1 job" if number == 1 else f"{number} jobs"


def _in_words(reason: str, stage: str, output_dir: Path) -> Iterator[str]:
    if reason.startswith(_PARAMS):
        before, now = _values(reason.removeprefix(_PARAMS))
        yield from _differences(before, now, stage, output_dir)
    elif reason.startswith(_UPDATED):
        yield f"changed: {reason.removeprefix(_UPDATED)}"
    elif reason and not reason.startswith(_LATER):
        yield next((words for start, words in _WORDS if reason.startswith(start)), reason)


def _values(text: str) -> tuple[list[Any], list[Any]]:
    """Return the parameters before and now from ``before: 'a','b' now: 'c'``; values may hold these words, too."""
    text = text.removeprefix("before: ")
    for place in (match.start() for match in re.finditer(r" ?now: ", text)):
        head, tail = text[:place], text[place:].lstrip().removeprefix("now: ")
        try:
            return [_listed(part) for part in (head, tail)]  # type: ignore[return-value]
        except (SyntaxError, ValueError):
            continue
    return [], []


def _listed(text: str) -> list[Any]:
    text = text.strip()
    return [] if text in ("", "<nothing exclusive>") else list(ast.literal_eval(f"[{text}]"))


def _differences(before: list[Any], now: list[Any], stage: str, output_dir: Path) -> Iterator[str]:
    """Pair what is exclusive to before and to now by its kind, and say how they differ."""
    for earlier, later in _paired(_settings(before), _settings(now)):
        yield from _keys(earlier or {}, later or {})
    for earlier, later in _paired(_codes(before), _codes(now)):
        if later:
            yield f"its code changed: {_modules(stage, earlier, later, output_dir)}"
    seen = [{word.partition("=")[2] for word in str(value).split()[1:]} for value in (*before, *now) if _is_seen(value)]
    if seen:
        yield f"another content: {', '.join(sorted(name.rstrip(chr(39)) for name in set().union(*seen)))}"
    if any(_is_other(value) for value in (*before, *now)):
        yield "files or folders that it reads are others than before"


def _is_seen(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(_SEEN)


def _is_other(value: Any) -> bool:
    """Say whether a parameter is none of the kinds that are told apart: digests of folders, paths, lists of inputs."""
    return not (_is_seen(value) or _codes([value]) or _settings([value]))


def _settings(values: list[Any]) -> list[dict[str, Any]]:
    found = []
    for value in values:
        if isinstance(value, str) and value.startswith("{"):
            try:
                found.append(json.loads(value))
            except ValueError:
                continue
    return found


def _codes(values: list[Any]) -> list[str]:
    return [value for value in values if isinstance(value, str) and _CODE.fullmatch(value)]


def _paired(before: list[Any], now: list[Any]) -> Iterator[tuple[Any, Any]]:
    for place in range(max(len(before), len(now))):
        yield (before[place] if place < len(before) else None), (now[place] if place < len(now) else None)


def _keys(before: dict[str, Any], now: dict[str, Any], above: str = "") -> Iterator[str]:
    """Say for each key that differs what it was and what it is, keys of sections by dots."""
    for key in sorted(before.keys() | now.keys()):
        one, other = before.get(key), now.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _keys(one, other, f"{above}{key}.")
        elif key not in before:
            yield f"{above}{key} is new: {_shown(other)}"
        elif key not in now:
            yield f"{above}{key} is gone; it was {_shown(one)}"
        elif one != other:
            yield f"{above}{key} is {_shown(other)}; it was {_shown(one)}"


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def _modules(stage: str, earlier: str | None, code: str, output_dir: Path) -> str:
    from spine_models.commands.code_differences import code_parts
    from spine_models.provenance.stored_code import changed_modules

    parts = code_parts(stage, code)
    found = None if parts is None or earlier is None else changed_modules(output_dir, earlier, parts)
    return "it is not known in which modules" if not found else ", ".join(found)
