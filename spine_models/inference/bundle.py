"""A bundle: one plain folder with all that a prediction needs, checked down to the last byte before it is used.

``bundle.json`` names the networks' files with size and SHA-256, the settings that they were trained under, the
names of levels and targets, the training prior and the provenance, and carries a digest over itself. Nothing in a
bundle is pickled, and nothing outside it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spine_models.data.dataset.patience import not_given, waiting_for_the_disk
from spine_models.errors import UserError
from spine_models.evaluation.operating_points import OperatingPoints
from spine_models.inference.bundle_description import DESCRIPTION, BundleFile, advice, chosen_networks, read_description
from spine_models.models.network import Network
from spine_models.models.weights import load_model
from spine_models.provenance.canonical import digest_file


@dataclass(frozen=True)
class Bundle:
    """A checked bundle.

    Attributes:
        folder: where it is.
        digest: of the whole content; what predictions depend on.
        settings: configuration that the networks were trained under (``z_step``, ``half_size``, ``crops`` ...).
        prior: target to the best constant prediction on the training studies; None without classifiers.
        phantom: True if the networks learnt from phantoms, not from patients.
        segmentation: the segmentation networks.
        classification: the classifiers; none in a bundle that makes only masks.
        provenance: what the bundle was made from.
        operating_points: thresholds that were fixed out of fold; None where none are known.
    """

    folder: Path
    digest: str
    settings: dict[str, Any]
    prior: dict[str, float] | None
    phantom: bool
    segmentation: tuple[BundleFile, ...]
    classification: tuple[BundleFile, ...]
    provenance: dict[str, Any]
    operating_points: OperatingPoints | None = None

    def only(self, members: Sequence[str]) -> Bundle:
        """Return the bundle with some of its networks, see ``chosen_networks``."""
        segmentation, classification = chosen_networks(self.folder, self.segmentation, self.classification, members)
        return replace(self, segmentation=segmentation, classification=classification)

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
        UserError: if it is not a bundle, of an unknown version, incomplete, differs from its checksums anywhere, or
            cannot be read.
    """
    folder = folder.parent if folder.name == DESCRIPTION else folder
    try:
        return waiting_for_the_disk(lambda: _checked(folder))
    except OSError as error:
        raise UserError(not_given(f"the bundle {folder}", error)) from None


def _checked(folder: Path) -> Bundle:
    bundle = Bundle(folder, **vars(read_description(folder)))
    for entry in (*bundle.segmentation, *bundle.classification):
        _check(folder, entry)
    return bundle


def _check(folder: Path, entry: BundleFile) -> None:
    path = folder / entry.file
    if not path.is_file():
        raise UserError(f"{path} is missing: {advice(folder)}")
    if path.stat().st_size != entry.bytes or digest_file(path) != entry.sha256:
        raise UserError(f"{path} differs from its checksum: {advice(folder)}")
