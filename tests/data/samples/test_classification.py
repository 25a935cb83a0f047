import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spine_models.data.crops.crop import CropSettings, validation_windows
from spine_models.data.crops.files import open_crop
from spine_models.data.samples.augmentation import ClassificationAugmentation
from spine_models.data.samples.classification import ClassificationSamples
from spine_models.errors import UserError
from spine_models.provenance.shelf import Shelf
from tests.data.sample_files import CROPS, crop_shelf, spine_mask

QUIET = ClassificationAugmentation(0.05, 0.1, 15, 0.0, 0.0, 0.0)
LOUD = ClassificationAugmentation(0.05, 0.1, 15, 0.5, 0.5, 0.5)
LABELS = {
    "broken": [1, 0, 0, 0, 0, 1, 0, 0],  # C5
    "healthy": [0] * 8,
    "fine": [0] * 8,
    "empty": [1, 1, 0, 0, 0, 0, 0, 0],
    "specks": [0] * 8,
}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    specks = np.zeros((60, 32, 32), np.uint8)
    specks[30, 10, 10:15] = 2
    masks = {
        "broken": spine_mask(),
        "healthy": spine_mask(levels=("C2", "C3")),
        "fine": spine_mask(),
        "empty": np.zeros((60, 32, 32), np.uint8),
        "specks": specks,
    }
    return crop_shelf(tmp_path_factory.mktemp("crops"), masks)


def _samples(shelf, studies=tuple(LABELS), augmentation=LOUD, seed=1, **other):
    options = {"draws_per_study": 8, "fractured_probability": 0.7} | other
    settings = CropSettings(**CROPS)
    return ClassificationSamples(
        shelf, studies, LABELS, settings=settings, augmentation=augmentation, seed=seed, **options
    )


def test_studies_without_a_usable_vertebra_are_left_out_of_the_draws(shelf):
    samples = _samples(shelf)
    assert samples.studies == ["broken", "healthy", "fine"]
    assert samples.left_out == ["empty", "specks"]
    assert len(samples) == 8 * 3


def test_crops_that_were_made_for_larger_vertebrae_alone_are_named(shelf):
    """The specks are too small for a crop by the settings that these were made with."""
    settings = CropSettings(**CROPS | {"min_voxels": 5})
    samples = ClassificationSamples(
        shelf,
        ["specks"],
        LABELS,
        settings=settings,
        augmentation=QUIET,
        draws_per_study=1,
        fractured_probability=0.7,
        seed=1,
    )
    sentence = "the record of study specks names vertebrae, but no crop: run the rule make_crops again"
    with pytest.raises(UserError, match=f"^{sentence}$"):
        samples.sample(0, 0)


def test_a_sample_has_the_shapes_and_types_of_the_contract(shelf):
    crop, target, study = _samples(shelf).sample(0, 0)
    assert crop.image.shape == crop.mask.shape == (12, 32, 32)
    assert (crop.image.dtype, crop.mask.dtype, target.dtype) == (np.int16, np.uint8, np.float32)
    assert target.shape == (8,)
    assert study in LABELS
    assert set(np.unique(crop.mask)) <= set(range(8))
    assert (crop.mean, crop.std) == (-400.0, 500.0)


def test_draws_are_the_same_in_any_order_and_differ_between_epochs_indices_and_seeds(shelf):
    samples, again = _samples(shelf), _samples(shelf)
    first = [samples.sample(2, index) for index in range(6)]
    for index in reversed(range(6)):
        crop, target, study = again.sample(2, index)
        for part, expected in zip(crop, first[index][0], strict=True):
            np.testing.assert_array_equal(part, expected)
        np.testing.assert_array_equal(target, first[index][1])
        assert study == first[index][2]
    for other in (samples.sample(3, 0), samples.sample(2, 1), _samples(shelf, seed=2).sample(2, 0)):
        assert np.any(other[0].image != first[0][0].image)


_ELSEWHERE = """
import hashlib, sys
from pathlib import Path
from tests.data.samples import test_classification as tests
samples = tests._samples(tests.Shelf([Path(sys.argv[1])]))
print(hashlib.sha256(samples.sample(4, 11)[0].image.tobytes()).hexdigest())
"""


def test_draws_are_the_same_in_another_process(shelf, tmp_path_factory):
    manifest = shelf._manifest("fine").path
    command = [sys.executable, "-c", _ELSEWHERE, str(manifest)]
    root = Path(__file__).parents[3]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    expected = hashlib.sha256(_samples(Shelf([manifest])).sample(4, 11)[0].image.tobytes()).hexdigest()
    assert result.stdout.strip() == expected


def test_training_and_validation_share_one_path(shelf):
    """Without augmentation a training window of a vertebra as tall as a validation window shows the same voxels."""
    samples = _samples(shelf, ("fine",), QUIET)
    crops = dict(validation_windows(open_crop(shelf, "fine"), CropSettings(**CROPS)))
    shown = {level: (crop.mask == int(level[1])).any(axis=0) for level, crop in crops.items()}
    for index in range(30):
        crop, target, _ = samples.sample(0, index)
        assert not target.any()
        centre = crop.mask[:, 16, 16]
        level = f"C{int(np.bincount(centre.astype(int), minlength=8)[1:].argmax() + 1)}"
        np.testing.assert_array_equal((crop.mask == int(level[1])).any(axis=0), shown[level])
        assert np.count_nonzero(centre == int(level[1])) == 8  # the whole vertebra is inside


def test_fractures_and_studies_are_drawn_in_the_method_s_proportions(shelf):
    samples = _samples(shelf, augmentation=QUIET)
    draws = [samples.sample(0, index) for index in range(600)]
    broken = [target for _, target, study in draws if study == "broken"]
    assert abs(len(broken) - 300) < 5 * np.sqrt(600 / 4)
    # C5 is drawn with probability 0.7; drawn neighbours may hold 30 % of it too, so the label is at least as frequent.
    positive = np.array(broken)[:, 5]
    assert positive.mean() > 0.7 - 5 * np.sqrt(0.21 / len(broken))
    assert positive.mean() < 1
    np.testing.assert_array_equal(np.array(broken)[:, 0], positive)
    assert not any(target.any() for _, target, study in draws if study != "broken")


def test_without_the_thirty_percent_rule_the_label_would_stay(shelf):
    """Windows around C1 never hold C5, so their target is empty although the study is fractured."""
    samples = _samples(shelf, ("broken",), QUIET, fractured_probability=0.0)
    for index in range(60):
        crop, target, _ = samples.sample(0, index)
        inside = np.count_nonzero(crop.mask == 5) / (4 * 8 * 64)  # resized twofold in the plane
        assert target[5] == (inside >= 0.3 - 1e-9)
        assert target[0] == target[5]
