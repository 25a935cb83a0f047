"""The card of a bundle: what it learnt from, how good it was out of fold, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spine_models.data.training_facts import TrainingFacts
from spine_models.evaluation.operating_points import OperatingPoint, OperatingPoints
from spine_models.provenance.facts import Facts

CARD = "model_card.md"
_MEASURES = {
    "step_mm": "distance of the slices used (mm)",
    "pixel_mm": "pixel spacing (mm)",
    "height_mm": "extent from top to bottom (mm)",
    "width_mm": "extent of a slice (mm)",
    "mean_hu": "mean of a volume (HU)",
    "std_hu": "standard deviation of a volume (HU)",
}
_NOT_FOR = """\
* diagnosis, treatment, or the decision whom to examine first: it is research software and not a medical device;
* an answer without a person who looks at the images: a study without a marked level may have a fracture;
* anything but CT of the neck of adults, and scans unlike those above: `implausible` says so where it notices, and it
  does not notice everything;
* a comparison with figures of other data: those above were measured on the data that the networks were made from."""


@dataclass(frozen=True)
class Figures(Facts):
    """How good the networks were out of fold.

    Attributes:
        studies: with an out-of-fold prediction.
        competition_loss: of them.
        competition_loss_ci95: its interval.
        prior_loss: of the best constant prediction.
        auc: of ``patient_overall``; None where all studies have the same target.
        auc_ci95: its interval; None where it has none.
        dice: mean of the levels over held-out studies; None where none was segmented.
        dice_studies: over how many.
    """

    studies: int
    competition_loss: float
    competition_loss_ci95: tuple[float, float]
    prior_loss: float
    auc: float | None
    auc_ci95: tuple[float, float] | None
    dice: float | None
    dice_studies: int


def figures_of(metrics: Mapping[str, Any]) -> Figures:
    """Return the figures of a card from ``metrics.json``."""
    classification, segmentation = metrics["classification"], metrics.get("segmentation") or {}
    interval = classification["auc_ci95"].get("patient_overall")
    return Figures(
        studies=classification["n_studies"],
        competition_loss=classification["competition_loss"],
        competition_loss_ci95=tuple(classification["competition_loss_ci95"]),
        prior_loss=classification["prior_loss"],
        auc=classification["auc"].get("patient_overall"),
        auc_ci95=tuple(interval) if interval else None,
        dice=segmentation.get("dice_mean"),
        dice_studies=segmentation.get("n_studies", 0),
    )


@dataclass(frozen=True)
class CardContents:
    """What a card tells.

    Attributes:
        phantom: the networks learnt from phantoms.
        segmentation: names of networks.
        classification: likewise.
        settings: of the bundle.
        training_data: None where nobody knows.
        figures: likewise.
        operating_points: likewise.
        provenance: of the bundle.
    """

    phantom: bool
    segmentation: Sequence[str]
    classification: Sequence[str]
    settings: Mapping[str, Any]
    training_data: TrainingFacts | None
    figures: Figures | None
    operating_points: OperatingPoints | None
    provenance: Mapping[str, Any]


def model_card(contents: CardContents) -> str:
    """Return the card as Markdown."""
    learnt_from = "phantoms, which a program drew, and not from patients" if contents.phantom else "CT studies"
    lines = [
        "# Model card",
        "",
        "**Research software, not a medical device.** Finds the vertebrae C1 to C7 in CT of the neck.",
        "It says how probable a fracture of each is." if contents.classification else "It judges no fractures.",
        f"Its networks learnt from {learnt_from}.",
        *(["**Good for nothing but trying the software out.**"] if contents.phantom else []),
        "",
        "## Networks",
        "",
        f"* segmentation: {', '.join(contents.segmentation)}",
        f"* classifiers: {', '.join(contents.classification) or 'none'}",
        f"* slices used: one of {contents.settings.get('z_step', 1)}; limits of intensities: "
        f"{_limits(contents.settings.get('hu_limits'))}",
        "",
        "## What they learnt from",
        "",
        *_data(contents.training_data, contents.provenance),
        "",
        "## How good they were",
        "",
        *_figures(contents.figures, contents.phantom),
        "",
        "## Operating points",
        "",
        *_points(contents.operating_points),
        "",
        "## What it must not be used for",
        "",
        _NOT_FOR,
        "",
        "## Made from",
        "",
        *(f"* {name}: {value}" for name, value in _origin(contents.provenance)),
    ]
    return "\n".join(lines) + "\n"


def _limits(limits: Sequence[int] | None) -> str:
    return f"{limits[0]} to {limits[1]} HU" if limits else "none"


def _data(known: TrainingFacts | None, provenance: Mapping[str, Any]) -> Iterator[str]:
    if known is None:
        studies = provenance.get("training_studies", "not known")
        yield f"Studies: {studies}. Spacing, extents and scanners are not known."
        return
    vendors = ", ".join(f"{name} ({count})" for name, count in known.vendors.items())
    yield f"{known.studies} studies. Scanners: {vendors}."
    yield ""
    yield "| measure | lowest | 1 % | middle | 99 % | highest |"
    yield "|---|---|---|---|---|---|"
    for name, title in _MEASURES.items():
        yield f"| {title} | {' | '.join(f'{value:g}' for value in known.measures[name])} |"


def _figures(known: Figures | None, phantom: bool) -> Iterator[str]:
    if known is None:
        yield "Not known: no out-of-fold figures came with these networks."
        return
    yield "Out of fold: each study was judged by networks that had not learnt from it" + (
        ". On phantoms; they say nothing of patients." if phantom else "."
    )
    yield ""
    yield from (f"* {line}" for line in figure_lines(known))


def figure_lines(known: Figures) -> Iterator[str]:
    """Yield each out-of-fold figure in words, with its interval where it has one."""
    loss = _number(known.competition_loss, known.competition_loss_ci95)
    constant = f"of the best constant prediction: {known.prior_loss:.3f}"
    yield f"challenge loss of {known.studies} studies: {loss}; {constant}"
    if known.auc is not None:
        yield f"AUC of patient_overall: {_number(known.auc, known.auc_ci95)}"
    if known.dice is not None:
        yield f"Dice of C1 to C7, mean of {known.dice_studies} held-out studies: {known.dice:.3f}"


def _number(value: float, interval: Sequence[float] | None) -> str:
    return f"{value:.3f}" + (f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})" if interval else "")


def _points(known: OperatingPoints | None) -> Iterator[str]:
    if known is None:
        yield "None known: predictions mark nothing."
        return
    yield f"Fixed out of fold on {known.studies} studies, where each was judged by the networks of a single fold. The"
    yield "mean of all networks, which predicts new studies, is less extreme, so its shares may differ."
    yield ""
    yield "| point | marks | from | sensitivity | specificity |"
    yield "|---|---|---|---|---|"
    for name, scopes in known.points.items():
        for scope, point in scopes.items():
            yield _row(name, scope, point)
    yield ""
    yield (
        f"They hold for the mean of {', '.join(known.members)}, flips {', '.join(known.flips)}, "
        f"{', '.join(known.precisions)}."
    )


def _row(name: str, scope: str, point: OperatingPoint) -> str:
    shares = (
        _number(point.sensitivity, point.sensitivity_ci95),
        _number(point.specificity, point.specificity_ci95),
    )
    return f"| {name} | {scope} | {point.threshold:.3f} | {' | '.join(shares)} |"


def _origin(provenance: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("code", "train_csv", "subset_of"):
        if provenance.get(name):
            yield name, str(provenance[name])
    for name, version in sorted(provenance.get("versions", {}).items()):
        yield name, str(version)
