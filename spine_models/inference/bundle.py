"""A bundle: a plain folder, or one file, with all that a prediction needs; checked down to the last byte before use.

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
from spine_models.data.training_facts import TrainingFacts
from spine_models.errors import UserError
from spine_models.evaluation.operating_points import OperatingPoints
from spine_models.inference.bundle_description import (
    BundleFile,
    BundlePlace,
    advice,
    chosen_networks,
    read_description,
)
from spine_models.inference.model_card import Figures
from spine_models.provenance.canonical import digest_file
from spine_models.provenance.packed import size_of


@dataclass(frozen=True)
class Bundle:
    """A checked bundle.

    Attributes:
        place: where it is.
        digest: of the whole content; what predictions depend on.
        settings: configuration that the networks were trained under (``z_step``, ``half_size``, ``crops`` ...).
        prior: target to the best constant prediction on the training studies; None without classifiers.
        phantom: True if the networks learnt from phantoms, not from patients.
        segmentation: the segmentation networks.
        classification: the classifiers; none in a bundle that makes only masks.
        provenance: what the bundle was made from.
        operating_points: thresholds that were fixed out of fold; None where none are known.
        training_data: what the networks learnt from; None where the bundle does not say.
        card: Markdown for people (``model_card``); None in a bundle from before cards.
        figures: how good the networks were out of fold; None where the bundle does not say.
    """

    place: BundlePlace
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

    @property
    def files(self) -> tuple[BundleFile, ...]:
        """All files beside the description."""
        return (*self.segmentation, *self.classification, *filter(None, [self.card]))

    @property
    def mask_flips(self) -> tuple[str, ...]:
        """Flips of windows that its masks are made with; a bundle from before flips has none."""
        # As ``compute.flips.NO_FLIP``, with which torch would come.
        return tuple(self.settings["inference"].get("flips", ["none"]))

    def only(self, members: Sequence[str]) -> Bundle:
        """Return the bundle with some of its networks, see ``chosen_networks``."""
        segmentation, classification = chosen_networks(self.place.path, self.segmentation, self.classification, members)
        return replace(self, segmentation=segmentation, classification=classification)


def load_bundle(path: Path) -> Bundle:
    """Read a bundle and check everything in it.

    Args:
        path: the bundle's folder, its ``bundle.json``, or the one file that it was packed into.

    Raises:
        UserError: if it is not a bundle, of an unknown version, incomplete, differs from its checksums anywhere, or
            cannot be read.
    """
    try:
        return waiting_for_the_disk(lambda: _checked(path))
    except OSError as error:
        raise UserError(not_given(f"the bundle {path}", error)) from None


def _checked(path: Path) -> Bundle:
    place = BundlePlace(path)
    bundle = Bundle(place, **vars(read_description(path)))
    for entry in bundle.files:
        file = place.network(entry)
        if size_of(file) != entry.bytes or digest_file(file) != entry.sha256:
            raise UserError(f"{file} differs from its checksum: {advice(place.path)}")
    return bundle
