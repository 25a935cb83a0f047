"""A bundle: one plain folder with all that a prediction needs, checked down to the last byte before it is used.

``bundle.json`` names the networks' files with size and SHA-256, the settings that they were trained under, the
names of levels and targets, the training prior and the provenance, and carries a digest over itself. Nothing in a
bundle is pickled, and nothing outside it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spine_models.errors import UserError
from spine_models.levels import LEVELS, TARGETS
from spine_models.models.network import Network
from spine_models.models.networks import Stage
from spine_models.models.weights import load_model
from spine_models.provenance.canonical import digest_file, digest_json
from spine_models.provenance.files import read_json

SCHEMA = 2
DESCRIPTION = "bundle.json"
_GROUPS: tuple[Stage, ...] = ("segmentation", "classification")
_ADVICE = "copy the bundle again, or export it anew with `snakemake bundle`"


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
class Bundle:
    """A checked bundle.

    Attributes:
        folder: where it lies.
        digest: of the whole content; what predictions depend on.
        settings: configuration that the networks were trained under (``z_step``, ``half_size``, ``crops`` ...).
        prior: target to the best constant prediction on the training studies; None without classifiers.
        phantom: True if the networks learnt from phantoms, not from patients.
        segmentation: the segmentation networks.
        classification: the classifiers; none in a bundle that makes masks alone.
        provenance: what the bundle was made from.
    """

    folder: Path
    digest: str
    settings: dict[str, Any]
    prior: dict[str, float] | None
    phantom: bool
    segmentation: tuple[BundleFile, ...]
    classification: tuple[BundleFile, ...]
    provenance: dict[str, Any]

    def load_segmentation(self) -> list[Network]:
        """Load the segmentation networks, on the CPU and in evaluation mode."""
        return [load_model(self.folder / entry.file, "segmentation")[0] for entry in self.segmentation]

    def load_classifiers(self) -> list[Network]:
        """Load the classifiers, on the CPU and in evaluation mode."""
        return [load_model(self.folder / entry.file, "classification")[0] for entry in self.classification]


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle and check everything in it.

    Args:
        folder: the bundle's folder, or its ``bundle.json``.

    Raises:
        UserError: if it is no bundle, of an unknown version, incomplete, or differs from its checksums anywhere.
    """
    folder = folder.parent if folder.name == DESCRIPTION else folder
    content = _description(folder)
    try:
        files = {group: tuple(BundleFile(**entry) for entry in content[group]) for group in _GROUPS}
        bundle = Bundle(
            folder,
            content["digest"],
            content["settings"],
            _prior(content["prior"]) if files["classification"] else None,
            content["phantom"],
            files["segmentation"],
            files["classification"],
            content["provenance"],
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"{folder / DESCRIPTION} is incomplete: {_ADVICE}") from None
    for entry in (*bundle.segmentation, *bundle.classification):
        _check(folder, entry)
    return bundle


def require_bundle(folder: Path) -> None:
    """Check that ``folder`` holds the description of a bundle, before anything takes time; weights are not read.

    Raises:
        UserError: if it holds none, or one that is damaged or of an unknown version.
    """
    _description(folder)


def _prior(stored: Mapping[str, Any]) -> dict[str, float]:
    return {target: float(stored[target]) for target in TARGETS}


def _description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    if not path.is_file():
        raise UserError(f"{folder} is no bundle: it has no {DESCRIPTION}; `snakemake bundle` makes one")
    try:
        content = read_json(path)
        schema = content["schema"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is damaged: {_ADVICE}") from None
    if schema not in (1, SCHEMA):
        raise UserError(
            f"{path} has the version {schema!r}, and this spine_models reads the versions 1 and {SCHEMA}:"
            " install the release that exported it, or export it anew"
        )
    if content.get("digest") != digest_json({key: value for key, value in content.items() if key != "digest"}):
        raise UserError(f"{path} differs from its own checksum: {_ADVICE}")
    if content.get("targets") != list(TARGETS) or content.get("levels") != list(LEVELS):
        raise UserError(f"{path} has other targets or levels than this release: {_ADVICE}")
    return _of_today(content)


def _of_today(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a description of the version 1 as today's; its files of weights are migrated when they are read."""
    names = {"identity": "plausibility"} if content["schema"] == 1 else {}
    settings = {names.get(name, name): value for name, value in dict(content.get("settings", {})).items()}
    return {**content, "settings": settings}


def _check(folder: Path, entry: BundleFile) -> None:
    if Path(entry.file).name != entry.file:
        raise UserError(f"{folder / DESCRIPTION} names a file outside the bundle ({entry.file}): {_ADVICE}")
    path = folder / entry.file
    if not path.is_file():
        raise UserError(f"{path} is missing: {_ADVICE}")
    if path.stat().st_size != entry.bytes or digest_file(path) != entry.sha256:
        raise UserError(f"{path} differs from its checksum: {_ADVICE}")
