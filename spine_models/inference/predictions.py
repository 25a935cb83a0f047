"""From the shards of a prediction to the tables that people read: every study and every row asked for is answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from spine_models.data.volume_facts import SeriesFacts
from spine_models.evaluation.operating_points import OVERALL, VERTEBRA, OperatingPoints
from spine_models.evaluation.tables import FROM_CROPS, FROM_PRIOR, MASK_ALONE, STUDY
from spine_models.inference.prediction_facts import PredictionFacts
from spine_models.inference.prediction_files import SUFFIXES, write_csv
from spine_models.inference.view_data import Places
from spine_models.levels import LEVELS, TARGETS
from spine_models.provenance.manifest import Manifest, read_manifests
from spine_models.provenance.shard import FAILED

ROW_ID = "row_id"
NO_POINT = "none"
"""Choice of an operating point for those who want no marks."""
PREDICTION_TYPES: tuple[str, ...] = (*LEVELS, "patient_overall")
"""Order of a study's rows in the challenge's sample submission."""

PREDICTED = "predicted"
IMPLAUSIBLE = "implausible"
PRIOR = "prior"
SEGMENTED = "segmented"
REFUSED = "refused"
MISSING = "missing"
"""Status of a study, beside ``FAILED``: from its own crops; likewise, but of what is not a neck that the networks can
answer for (``inference.implausible``); no vertebra found, by whatever bundle; only the mask, by a bundle without
classifiers; in quarantine; asked for and not there. Only the first is an answer; in ``submission.csv``, which must hold
a number, an implausible study takes its own and the others the training prior, if the bundle has one."""
_STATUS = {FROM_CROPS: PREDICTED, FROM_PRIOR: PRIOR, MASK_ALONE: SEGMENTED}
STATES = {"visible": "visible", "interpolated": "interpolated", "missing": "not visible"}
"""What the mask says of a level, in words; a visible one may be "partly visible"."""
SERIES = ("series", "number", "kernel", "thickness_mm", "slices")
"""What is told of the series that was read; the columns of ``predictions.csv``."""


@dataclass(frozen=True)
class MaskMakers:
    """What masks are made by: they decide where the classifiers look.

    Attributes:
        networks: names of the segmentation networks.
        flips: of their windows.
    """

    networks: tuple[str, ...]
    flips: tuple[str, ...]

    @property
    def words(self) -> str:
        """For a sentence."""
        return f"{', '.join(self.networks)} with the flips {', '.join(self.flips)}"


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
        partly: visible levels that the scan's end cuts off.
        flips: of crops, whose probabilities were averaged.
        precision: in which the classifiers computed.
        masks: what its mask was made by.
        operating_point: name of the operating point that holds for it; empty where none does.
        about_point: a sentence on that point, or on why there is none.
        above: targets whose probability it marks.
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
    partly: tuple[str, ...] = ()
    flips: tuple[str, ...] = ()
    precision: str = ""
    masks: MaskMakers | None = None
    operating_point: str = ""
    about_point: str = ""
    above: frozenset[str] = frozenset()

    @property
    def read_from(self) -> list[str]:
        """Sentences on the series: which was read, and which were not and why."""
        read = [f"read from {_named(self.series)}"] if self.series else []
        return read + [f"not read: {other}" for other in self.other_series]

    def spread(self, target: str) -> tuple[float, float] | None:
        """Return the least and the largest value of several classifiers; None of one, or of none."""
        values = [found[TARGETS.index(target)] for found in self.models.values()]
        return (min(values), max(values)) if len(values) > 1 else None

    def state(self, level: str) -> str:
        """Say how much of a level the mask shows: one of ``STATES``, or "not read"."""
        return "partly visible" if level in self.partly else STATES.get(self.levels.get(level, ""), "not read")

    def seen(self, state: str) -> str:
        """Return the levels that the mask shows in one of ``STATES``, as a text."""
        return " ".join(level for level in LEVELS if self.state(level) == state)


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


def mark(
    studies: Iterable[PredictedStudy], points: OperatingPoints | None, name: str, masks: MaskMakers | None = None
) -> list[PredictedStudy]:
    """Return the studies with what is marked at an operating point, where it holds for them.

    Args:
        studies: of one bundle.
        points: that the bundle knows.
        name: of the point, one of ``evaluation.operating_points.POINTS``, or ``NO_POINT``.
        masks: what the bundle makes masks by where nothing else is asked for; None: that is not compared.
    """
    return [_marked(study, points, name, masks) for study in studies]


def _marked(
    study: PredictedStudy, points: OperatingPoints | None, name: str, masks: MaskMakers | None
) -> PredictedStudy:
    if study.status != PREDICTED or not study.probabilities:
        return study
    if points is None:
        return replace(study, about_point="No operating point is known: the bundle holds none.")
    if name == NO_POINT:
        return replace(study, about_point="No operating point was chosen.")
    why_not = points.why_not(list(study.models), study.flips, study.precision) or _other_masks(study.masks, masks)
    if why_not:
        return replace(study, about_point=why_not)
    above = frozenset(target for target in TARGETS if points.marks(name, target, study.probabilities[target]))
    return replace(study, operating_point=name, about_point=_about(points, name), above=above)


def _other_masks(made: MaskMakers | None, own: MaskMakers | None) -> str:
    if made is None or own is None or made == own:
        return ""
    return f"No operating point holds: the mask was made by {made.words}, and the bundle's own are by {own.words}."


def _about(points: OperatingPoints, name: str) -> str:
    """Say what a point is, in a sentence for its readers."""
    parts = [
        f"{words} from {point.threshold:.2f} on (sensitivity {_rate(point.sensitivity, point.sensitivity_ci95)}, "
        f"specificity {_rate(point.specificity, point.specificity_ci95)})"
        for words, point in (
            ("the patient", points.points[name][OVERALL]),
            ("a level", points.points[name][VERTEBRA]),
        )
    ]
    return (
        f"Operating point {name}: it marks {' and '.join(parts)}; fixed out of fold on {points.studies} studies by "
        "networks of one fold each, of which this prediction averages several."
    )


def _rate(value: float, interval: tuple[float, float] | None) -> str:
    return f"{value:.2f}" if interval is None else f"{value:.2f}, 95 % {interval[0]:.2f} to {interval[1]:.2f}"


def read_test_rows(path: Path) -> list[tuple[str, str, str]]:
    """Read ``test.csv``: (row_id, study, prediction type) in its order.

    Raises:
        UserError: as ``data.dataset.tables.read_test``.
    """
    from spine_models.data.dataset.tables import read_test

    return list(read_test(path).itertuples(index=False, name=None))


def write_predictions(path: Path, studies: Sequence[PredictedStudy]) -> None:
    """Write ``predictions.csv``: a row per study, probabilities with six decimals; none where nothing was predicted."""
    states = ("visible", "partly visible", "interpolated")
    seen = {f"levels_{state.removesuffix(' visible')}": state for state in states}
    spreads = [f"{target}_{side}" for target in TARGETS for side in ("lowest", "highest")]
    point = ("operating_point", "above")
    header = (STUDY, *TARGETS, "status", "code", *seen, *SERIES, "other_series", "notes", *point, *spreads)
    rows = [
        (
            row.study,
            *(_fixed((row.probabilities or {})[target]) if row.status == PREDICTED else "" for target in TARGETS),
            row.status,
            row.code,
            *(row.seen(state) for state in seen.values()),
            *("" if getattr(row.series, name, None) is None else getattr(row.series, name) for name in SERIES),
            "; ".join(row.other_series),
            "; ".join([*row.reasons, *row.notes]),
            row.operating_point,
            " ".join(target for target in TARGETS if target in row.above),
            *_spreads(row),
        )
        for row in studies
    ]
    write_csv(path, header, rows)


def _spreads(row: PredictedStudy) -> list[str]:
    """Return the least and the largest value of the classifiers for each target, where the study has an answer."""
    known = [row.spread(target) if row.status == PREDICTED else None for target in TARGETS]
    return [text for spread in known for text in (map(_fixed, spread) if spread else ("", ""))]


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
        partly=facts.partly,
        flips=facts.flips,
        precision=facts.precision,
        masks=MaskMakers(facts.mask_networks, facts.mask_flips),
    )


def _without(study: str, prior: Mapping[str, float] | None, status: str, code: str, reason: str) -> PredictedStudy:
    return PredictedStudy(study, dict(prior) if prior else None, status, code, (reason,), names=frozenset({study}))


def _named(item: SeriesFacts) -> str:
    kernel = f", kernel {item.kernel}" if item.kernel else ""
    number = "" if item.number is None else f" {item.number}"
    return f"series{number} ({item.slices} slices of {item.thickness_mm:g} mm{kernel})"


def _fixed(value: float) -> str:
    return f"{value:.6f}"
