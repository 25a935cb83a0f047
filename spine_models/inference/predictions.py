"""From the shards of a prediction to the tables that people read: every study and every row asked for is answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spine_models.data.volume_facts import SeriesFacts
from spine_models.evaluation.tables import FROM_CROPS, FROM_PRIOR, MASK_ALONE, STUDY
from spine_models.inference.prediction_facts import PredictionFacts
from spine_models.inference.prediction_files import SUFFIXES, write_csv
from spine_models.inference.view_data import Places
from spine_models.levels import LEVELS, TARGETS
from spine_models.provenance.manifest import Manifest, read_manifests
from spine_models.provenance.shard import FAILED

ROW_ID = "row_id"
PREDICTION_TYPES: tuple[str, ...] = (*LEVELS, "patient_overall")
"""Order of a study's rows in the challenge's sample submission."""

PREDICTED = "predicted"
IMPLAUSIBLE = "implausible"
PRIOR = "prior"
SEGMENTED = "segmented"
REFUSED = "refused"
MISSING = "missing"
"""Status of a study, beside ``FAILED``: from its own crops; likewise, but of what is no neck that the networks can
answer for (``inference.implausible``); no vertebra found; only the mask, by a bundle without classifiers; in
quarantine; asked for and not there. Only the first is an answer; in ``submission.csv``, which must hold a number, an
implausible study takes its own and the others the training prior, if the bundle has one."""
_STATUS = {FROM_CROPS: PREDICTED, FROM_PRIOR: PRIOR, MASK_ALONE: SEGMENTED}
SERIES = ("series", "number", "kernel", "thickness_mm", "slices")
"""What is told of the series that was read; the columns of ``predictions.csv``."""


@dataclass(frozen=True)
class PredictedStudy:
    """One row of ``predictions.csv``.

    Attributes:
        study: its name.
        probabilities: target to value; None where the bundle has no classifiers.
        status: ``PREDICTED``, ``IMPLAUSIBLE``, ``PRIOR``, ``SEGMENTED``, ``REFUSED``, ``FAILED`` or ``MISSING``.
        code: of a refusal, otherwise empty.
        notes: sentences: why it was refused, what the models could not see.
        reasons: sentences on why it is implausible.
        models: classifier to its eight values, in the order of ``TARGETS``; empty without an answer of its own.
        series: facts of the series that was read.
        other_series: a sentence for each axial series that was not read.
        levels: level to "visible", "interpolated" or "missing"; empty if nothing was read.
        names: every name under which a table may ask for the study.
        files: kind to path of its mask, pictures and the images of its page.
        places: where its levels are; None if nothing was read.
    """

    study: str
    probabilities: dict[str, float] | None
    status: str
    code: str = ""
    notes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    models: Mapping[str, Sequence[float]] = field(default_factory=dict)
    series: SeriesFacts | None = None
    other_series: tuple[str, ...] = ()
    levels: Mapping[str, str] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    files: dict[str, Path] = field(default_factory=dict)
    places: Places | None = None

    @property
    def read_from(self) -> list[str]:
        """Sentences on the series: which was read, and which were not and why."""
        read = [f"read from {_named(self.series)}"] if self.series else []
        return read + [f"not read: {other}" for other in self.other_series]

    def spread(self, target: str) -> tuple[float, float] | None:
        """Return the least and the largest value of several classifiers; None of one, or of none."""
        values = [found[TARGETS.index(target)] for found in self.models.values()]
        return (min(values), max(values)) if len(values) > 1 else None

    @property
    def visible(self) -> list[str]:
        """Levels that the mask shows."""
        return [level for level in LEVELS if self.levels.get(level) == "visible"]


def collect(
    manifests: Iterable[Path], prior: Mapping[str, float] | None, test_csv: Path | None
) -> list[PredictedStudy]:
    """Read every shard; studies in the order of ``test_csv``, then of their names.

    Args:
        manifests: of the shards.
        prior: target to value, for studies without a prediction of their own; None where there are no classifiers.
        test_csv: the challenge's ``test.csv``, or None.

    Raises:
        UserError: if a record or ``test_csv`` is damaged.
    """
    found: dict[str, PredictedStudy] = {}
    for manifest in read_manifests(manifests):
        for study in manifest.studies:
            found.setdefault(study, _predicted(manifest, study))
        for study, why in manifest.refused.items():
            status = FAILED if why["code"] == FAILED else REFUSED
            found.setdefault(study, _without(study, prior, status, why["code"], why["reason"]))
    known = {name for study in found.values() for name in study.names}
    asked = list(dict.fromkeys(study for _, study, _ in read_test_rows(test_csv))) if test_csv else []
    for study in asked:
        if study not in known:
            found[study] = _without(study, prior, MISSING, "", "the table of studies asks for it, and no file is of it")
    place = {study: position for position, study in enumerate(asked)}
    last = len(place)
    return sorted(found.values(), key=lambda row: (min(place.get(name, last) for name in row.names), row.study))


def read_test_rows(path: Path) -> list[tuple[str, str, str]]:
    """Read ``test.csv``: (row_id, study, prediction type) in its order.

    Raises:
        UserError: as ``data.dataset.tables.read_test``.
    """
    from spine_models.data.dataset.tables import read_test

    return list(read_test(path).itertuples(index=False, name=None))


def write_predictions(path: Path, studies: Sequence[PredictedStudy]) -> None:
    """Write ``predictions.csv``: a row per study, probabilities with six decimals; none where nothing was predicted."""
    header = (STUDY, *TARGETS, "status", "code", "levels_visible", *SERIES, "other_series", "notes")
    rows = [
        (
            row.study,
            *(_fixed((row.probabilities or {})[target]) if row.status == PREDICTED else "" for target in TARGETS),
            row.status,
            row.code,
            " ".join(row.visible),
            *("" if getattr(row.series, name, None) is None else getattr(row.series, name) for name in SERIES),
            "; ".join(row.other_series),
            "; ".join([*row.reasons, *row.notes]),
        )
        for row in studies
    ]
    write_csv(path, header, rows)


def write_submission(path: Path, studies: Sequence[PredictedStudy], test_csv: Path | None) -> None:
    """Write ``submission.csv``: the rows that ``test_csv`` asks for in its order, or all of all studies.

    Without classifiers there are no probabilities to submit, and the table has no rows.
    """
    by_name = {name: row.probabilities for row in studies for name in row.names if row.probabilities}
    if not by_name:
        asked = []
    elif test_csv:
        asked = read_test_rows(test_csv)
    else:
        asked = [(f"{row.study}_{kind}", row.study, kind) for row in studies for kind in PREDICTION_TYPES]
    rows = [(row_id, _fixed(by_name[study][kind])) for row_id, study, kind in asked]
    write_csv(path, (ROW_ID, "fractured"), rows)


def _predicted(manifest: Manifest, study: str) -> PredictedStudy:
    paths = manifest.checked_files(study)
    facts = manifest.facts(study, PredictionFacts)
    series = facts.volume.series
    names = {kind: f"{study}{suffix}" for kind, suffix in SUFFIXES.items()}
    return PredictedStudy(
        study=study,
        probabilities=facts.probabilities,
        status=IMPLAUSIBLE if facts.implausible and facts.source != FROM_PRIOR else _STATUS[facts.source],
        notes=tuple(note for note in facts.notes if note not in facts.implausible),
        reasons=facts.implausible,
        models=facts.models,
        series=series[0] if series else None,
        other_series=tuple(f"{_named(item)}: {item.why_not}" for item in series[1:]),
        levels=facts.levels,
        names=frozenset({study, facts.folder_uid or study}),
        files={kind: paths[name] for kind, name in names.items() if name in paths},
        places=facts.places,
    )


def _without(study: str, prior: Mapping[str, float] | None, status: str, code: str, reason: str) -> PredictedStudy:
    return PredictedStudy(study, dict(prior) if prior else None, status, code, (reason,), names=frozenset({study}))


def _named(item: SeriesFacts) -> str:
    kernel = f", kernel {item.kernel}" if item.kernel else ""
    number = "" if item.number is None else f" {item.number}"
    return f"series{number} ({item.slices} slices of {item.thickness_mm:g} mm{kernel})"


def _fixed(value: float) -> str:
    return f"{value:.6f}"
