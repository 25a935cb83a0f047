"""``bundle.json``: what a bundle says of itself, checked before anything relies on it. Reading it needs no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from spine_models.data.training_facts import MEASURES, QUANTILES, TrainingFacts
from spine_models.errors import UserError
from spine_models.evaluation.operating_points import POINTS, SCOPES, OperatingPoints
from spine_models.inference.model_card import Figures
from spine_models.inference.settings_contradictions import settings_contradictions
from spine_models.inference.settings_schema import settings_complaint
from spine_models.levels import LEVELS, TARGETS
from spine_models.models.networks import Stage
from spine_models.provenance.canonical import digest_json
from spine_models.provenance.packed import SUFFIX, AnyFile, read_archive, size_of
from spine_models.schema_check import complaint, shown, too_many

SCHEMA = 2
DESCRIPTION = "bundle.json"
LARGEST_WEIGHTS = 8 << 30
"""Bytes of one network; the published ones have 0.13 GB."""
_LARGEST_DESCRIPTION = 64 << 20  # the studies that it learnt from are named in the files of weights
_MOST_NETWORKS = 1000
_LONGEST_VENDOR = 100
_GROUPS: tuple[Stage, ...] = ("segmentation", "classification")
_NAME = {"type": "string", "minLength": 1, "maxLength": 100}
_PLAIN_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_FILE = {
    "type": "object",
    "required": ["file", "bytes", "sha256", "name"],
    "additionalProperties": False,
    "properties": {
        "file": _NAME,
        "bytes": {"type": "integer", "minimum": 1, "maximum": LARGEST_WEIGHTS},
        "sha256": {"type": "string", "minLength": 64, "maxLength": 64},
        "name": _NAME,
    },
}
_FILES = {"type": "array", "maxItems": _MOST_NETWORKS, "items": _FILE}
_FRACTION = {"type": "number", "minimum": 0, "maximum": 1}
_INTERVAL = {"type": ["array", "null"], "minItems": 2, "maxItems": 2, "items": _FRACTION}
_COUNT = {"type": "integer", "minimum": 0, "maximum": 1 << 40}
_NAMES = {"type": "array", "maxItems": _MOST_NETWORKS, "items": _NAME}


def _group(properties: Mapping[str, Any], *, null: bool = False) -> dict[str, Any]:
    kind = ["object", "null"] if null else "object"
    return {"type": kind, "additionalProperties": False, "required": list(properties), "properties": dict(properties)}


_POINT = _group(
    {
        **dict.fromkeys(("threshold", "sensitivity", "specificity"), _FRACTION),
        **dict.fromkeys(("sensitivity_ci95", "specificity_ci95"), _INTERVAL),
        **dict.fromkeys(("positives", "negatives"), _COUNT),
    }
)
_POINTS = _group(
    {
        "points": _group(dict.fromkeys(POINTS, _group(dict.fromkeys(SCOPES, _POINT)))),
        **dict.fromkeys(("members", "flips", "precisions"), _NAMES),
        "studies": _COUNT,
    },
    null=True,
)
_MEASURE = {"type": "array", "minItems": len(QUANTILES), "maxItems": len(QUANTILES), "items": {"type": "number"}}
_TRAINING_DATA = _group(
    {
        "studies": _COUNT,
        "measures": _group(dict.fromkeys(MEASURES, _MEASURE)),
        "vendors": {"type": "object", "maxProperties": _MOST_NETWORKS, "additionalProperties": _COUNT},
    },
    null=True,
)
_MAYBE = {**_FRACTION, "type": ["number", "null"]}
_LOSS = {"type": "number", "minimum": 0, "maximum": 1000}
_FIGURES = _group(
    {
        **dict.fromkeys(("competition_loss", "prior_loss"), _LOSS),
        "competition_loss_ci95": {"type": "array", "minItems": 2, "maxItems": 2, "items": _LOSS},
        **dict.fromkeys(("auc", "dice"), _MAYBE),
        "auc_ci95": _INTERVAL,
        **dict.fromkeys(("studies", "dice_studies"), _COUNT),
    },
    null=True,
)
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["settings", "prior", "phantom", "segmentation", "classification", "provenance", "digest"],
    "properties": {
        "settings": {"type": "object"},
        "prior": {
            "type": ["object", "null"],
            "additionalProperties": False,
            "required": list(TARGETS),
            "properties": dict.fromkeys(TARGETS, _FRACTION),
        },
        "phantom": {"type": "boolean"},
        "operating_points": _POINTS,
        "training_data": _TRAINING_DATA,
        "figures": _FIGURES,
        "card": {**_FILE, "type": ["object", "null"]},
        "segmentation": {**_FILES, "minItems": 1},
        "classification": _FILES,
        "provenance": {"type": "object"},
        "digest": {"type": "string"},
    },
}


@dataclass(frozen=True)
class BundleFile:
    """One network of a bundle.

    Attributes:
        file: name inside the bundle's folder.
        bytes: size.
        sha256: of the content.
        name: what reports call the network, for example ``ir-0``.
    """

    file: str
    bytes: int
    sha256: str
    name: str


@dataclass(frozen=True)
class BundleDescription:
    """A checked ``bundle.json``; the attributes are those of ``bundle.Bundle``."""

    digest: str
    settings: dict[str, Any]
    prior: dict[str, float] | None
    phantom: bool
    segmentation: tuple[BundleFile, ...]
    classification: tuple[BundleFile, ...]
    provenance: dict[str, Any]
    operating_points: OperatingPoints | None = None
    training_data: TrainingFacts | None = None
    card: BundleFile | None = None
    figures: Figures | None = None


Networks = tuple[BundleFile, ...]


def chosen_networks(
    folder: Path, segmentation: Networks, classification: Networks, members: Sequence[str]
) -> tuple[Networks, Networks]:
    """Return the networks of both stages that are named.

    Args:
        folder: of the bundle.
        segmentation: all of the bundle.
        classification: likewise.
        members: names of networks, such as "ir-0", or of variants, such as "ir". A stage of which none is named stays
            whole; without any name both do.

    Raises:
        UserError: if a name fits no network.
    """
    for member in members:
        if not any(_is(entry, member) for entry in (*segmentation, *classification)):
            known = ", ".join(entry.name for entry in (*classification, *segmentation))
            raise UserError(f"--members {member or 'without a name'} fits no network of {folder}: it has {known}")
    named = (
        tuple(entry for entry in group if any(_is(entry, member) for member in members))
        for group in (segmentation, classification)
    )
    first, second = named
    return first or segmentation, second or classification


def names_of(text: str) -> tuple[str, ...]:
    """Return the names of networks that an option lists between commas; blanks beside a comma are not of a name."""
    return tuple(name.strip() for name in text.split(","))


def require_members(folder: Path, members: Sequence[str]) -> None:
    """Refuse names that fit no network of a bundle, before its networks are looked at.

    Raises:
        UserError: as ``read_description`` and ``chosen_networks``.
    """
    found = read_description(folder)
    chosen_networks(folder, found.segmentation, found.classification, members)


def _is(entry: BundleFile, member: str) -> bool:
    return bool(member) and member in (entry.name, entry.name.rpartition("-")[0])


class BundlePlace:
    """Where the files of a bundle are: beside one another in a folder, or stored in one file.

    Args:
        given: the folder, its ``bundle.json``, or the one file.

    Attributes:
        path: of the folder or of the one file.

    Raises:
        UserError: if it is one file that is not a bundle.
    """

    def __init__(self, given: Path) -> None:
        self.path = given.parent if given.name == DESCRIPTION else given
        require_bundle_file(self.path)
        self._packed = read_archive(self.path) if self.path.is_file() else None

    def file(self, name: str) -> AnyFile | None:
        """Return a file of the bundle, None if it has none of that name."""
        if self._packed is not None:
            return self._packed.get(name)
        path = self.path / name
        return path if path.is_file() else None

    def network(self, entry: BundleFile) -> AnyFile:
        """Return the file of a network.

        Raises:
            UserError: if it is missing.
        """
        file = self.file(entry.file)
        if file is None:
            raise UserError(f"{self.path / entry.file} is missing: {advice(self.path)}")
        return file


def is_bundle(path: Path) -> bool:
    """Say whether a file stands for a bundle, and not for one network: its description, or all of it in one file."""
    return path.name == DESCRIPTION or path.suffix == SUFFIX


def require_bundle_file(path: Path, key: str = "") -> None:
    """Refuse a file that stands for no bundle, such as one network: bundles in one file are told by their suffix.

    Args:
        path: as a person named it; a folder, or what is not there, passes.
        key: of the configuration that names it; "" where an option does.

    Raises:
        UserError: if it is neither a description nor named as what a bundle is packed into.
    """
    if path.is_file() and not is_bundle(path):
        raise UserError(
            f"{key} {path} is not a bundle: give its folder, or the {SUFFIX} that it was packed into".lstrip()
        )


def advice(folder: Path) -> str:
    """Return what to do about a damaged bundle, as the end of a sentence."""
    if folder.is_file():
        return "copy the bundle again, or pack it anew"
    again = f"`snakemake --force {folder / DESCRIPTION}`"
    return f"copy the bundle again; one that this workflow exported is made anew by {again}"


def why_no_bundle(folder: Path) -> str:
    """Return what a folder without a description is instead, and what to do, as the end of a sentence."""
    for near in (folder.parent, *sorted(folder.glob("*/"))):
        if (near / DESCRIPTION).is_file():
            return f"is not a bundle, but {near} is: give that folder"
    return f"is not a bundle: it has no {DESCRIPTION}; `snakemake bundle` makes one"


def read_description(folder: Path) -> BundleDescription:
    """Read what a bundle says of itself; its networks are not looked at.

    Args:
        folder: the bundle, see ``BundlePlace``.

    Raises:
        UserError: if it is not a bundle, of an unknown version, differs from its own checksum, or holds a value that no
            prediction can be made with.
    """
    place = BundlePlace(folder)
    path, folder = place.path / DESCRIPTION, place.path
    content = _of_today(_content(place))
    problem = (
        complaint({name: value for name, value in content.items() if name in _SCHEMA["properties"]}, _SCHEMA)
        or _settings_problem(content)
        or _files_problem(
            [*(entry for group in _GROUPS for entry in content[group]), *filter(None, [content.get("card")])]
        )
    )
    if problem is None and content["classification"] and content["prior"] is None:
        problem = "prior is null, but must hold a number for each target where there are classifiers"
    if problem is None and content.get("training_data"):
        problem = _training_problem(content["training_data"])
    if problem:
        again = advice(folder)
        raise UserError(f"{path} cannot be used: {problem}. {again[0].upper()}{again[1:]}")
    segmentation, classification = (tuple(BundleFile(**entry) for entry in content[group]) for group in _GROUPS)
    prior = {target: float(content["prior"][target]) for target in TARGETS} if classification else None
    return BundleDescription(
        content["digest"],
        content["settings"],
        prior,
        content["phantom"],
        segmentation,
        classification,
        content["provenance"],
        OperatingPoints.from_json(content["operating_points"]) if content.get("operating_points") else None,
        TrainingFacts.from_json(content["training_data"]) if content.get("training_data") else None,
        BundleFile(**content["card"]) if content.get("card") else None,
        Figures.from_json(content["figures"]) if content.get("figures") else None,
    )


def _settings_problem(content: Mapping[str, Any]) -> str | None:
    settings = content["settings"]
    problem = settings_complaint(settings) or next(settings_contradictions(settings), None)
    return f"in its settings, {problem}" if problem else None


def _training_problem(data: Mapping[str, Any]) -> str | None:
    mixed = [name for name, values in data["measures"].items() if values != sorted(values)]
    if mixed:
        return f"the quantiles of {mixed[0]} in training_data do not ascend"
    strange = [name for name in data["vendors"] if not name.isprintable() or len(name) > _LONGEST_VENDOR]
    return f"the vendor {shown(strange[0])} has characters that cannot be shown, or too many" if strange else None


def _files_problem(entries: list[dict[str, Any]]) -> str | None:
    for key in ("file", "name"):
        values = [entry[key] for entry in entries]
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            return f"two of its networks have the {key} {twice!r}"
    for entry in entries:
        if not _PLAIN_FILE.fullmatch(entry["file"]):
            return f"{entry['file']!r} is not a plain file name, or that of a file outside the bundle"
        if not entry["name"].isprintable():
            return f"the name {entry['name']!r} of a network has characters that cannot be shown"
    return None


def _content(place: BundlePlace) -> dict[str, Any]:
    """Return the JSON of a description whose version, checksum, levels and targets are those of this release."""
    path, file = place.path / DESCRIPTION, place.file(DESCRIPTION)
    if file is None:
        raise UserError(f"{place.path} {why_no_bundle(place.path)}")
    if size_of(file) > _LARGEST_DESCRIPTION:
        raise UserError(
            f"{path} has {size_of(file) >> 20} MB, which no description of a bundle has: {advice(place.path)}"
        )
    with file.open("rb") as stream:
        data = stream.read()
    try:
        content = json.loads(data.decode("utf-8"), parse_constant=_no_number)
        schema = content["schema"]
        intact = content["digest"] == digest_json({key: value for key, value in content.items() if key != "digest"})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{path} is damaged: {advice(path.parent)}") from None
    if type(schema) is not int or schema not in (1, SCHEMA):
        raise UserError(
            f"{path} has the version {shown(schema)}, and this spine_models reads the versions 1 and {SCHEMA}:"
            " install the release that exported it, or export it anew"
        )
    if not intact:
        raise UserError(f"{path} differs from its own checksum: {advice(path.parent)}")
    if content.get("targets") != list(TARGETS) or content.get("levels") != list(LEVELS):
        raise UserError(f"{path} has other targets or levels than this release: {advice(path.parent)}")
    if too_many(content):
        raise UserError(f"{path} holds more values than any description of a bundle: {advice(path.parent)}")
    return dict(content)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _of_today(content: dict[str, Any]) -> dict[str, Any]:
    """Return a description of the version 1 as today's; its files of weights are migrated when they are read."""
    settings = content.get("settings")
    if content["schema"] != 1 or not isinstance(settings, dict):
        return content
    return {**content, "settings": {"plausibility" if k == "identity" else k: v for k, v in settings.items()}}
