"""What a run of the workflow set out to do: written when it starts, for those who look at it from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spine_models.provenance.files import read_json, write_json

PLAN = "plan.run.json"


@dataclass(frozen=True)
class Plan:
    """A run's jobs.

    Attributes:
        started: seconds since 1970.
        jobs: rule to how many of its jobs were to run.
    """

    started: float
    jobs: dict[str, int]


def write_plan(output_dir: Path, jobs: Mapping[str, int], started: float) -> None:
    """Write down the jobs of a run that starts."""
    write_json(output_dir / PLAN, {"started": started, "jobs": dict(jobs)})


def read_plan(output_dir: Path) -> Plan | None:
    """Return the last run's plan; None where there is none that can be read."""
    try:
        found = read_json(output_dir / PLAN)
        return Plan(float(found["started"]), {str(rule): int(count) for rule, count in found["jobs"].items()})
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None
