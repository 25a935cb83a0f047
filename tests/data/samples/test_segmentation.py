import numpy as np
import pytest

from benchmarks.tiny_data import volume_facts
from spine_models.data.samples.augmentation import SegmentationAugmentation
from spine_models.data.samples.segmentation import SegmentationSamples, cut_slices
from spine_models.levels import IGNORE_LABEL
from spine_models.provenance.shelf import Shelf
from tests.data.sample_files import write_stage

QUIET = SegmentationAugmentation(0.1, 0.1, 20, 0.0, 0.0, 0.1, 0.0)
LOUD = SegmentationAugmentation(0.1, 0.1, 20, 0.5, 0.5, 0.1, 0.2)
DEPTHS = {"long": 40, "exact": 16, "short": 10}


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("half")
    volumes, labels = {}, {}
    for study, depth in DEPTHS.items():
        volumes[study] = np.empty((depth, 24, 24), np.int16)
        volumes[study][:] = 10 * np.arange(depth)[:, None, None]
        labels[study] = np.empty((depth, 24, 24), np.uint8)
        labels[study][:] = (np.arange(depth) % 8)[:, None, None]
    facts = {study: volume_facts() for study in DEPTHS}
    halves = write_stage(folder, "volumes_half", volumes, facts)
    return Shelf([halves]), Shelf([write_stage(folder, "labels_half", labels, facts)])


def _samples(stages, augmentation=QUIET, seed=3, studies=tuple(DEPTHS)):
    return SegmentationSamples(*stages, studies, window=16, draws_per_study=64, augmentation=augmentation, seed=seed)


def test_an_epoch_draws_every_study_64_times(stages):
    samples = _samples(stages)
    assert len(samples) == 64 * 3
    drawn = [samples.sample(1, index)[2] for index in range(len(samples))]
    assert all(drawn.count(study) == 64 for study in DEPTHS)


def test_windows_are_uniform_over_the_volume_and_aligned_with_their_label(stages):
    samples = _samples(stages, studies=("long",))
    starts = []
    for index in range(600):
        window, label, _ = samples.sample(0, index)
        assert window.image.shape == label.shape == (16, 24, 24)
        assert (window.image.dtype, label.dtype) == (np.int16, np.uint8)
        assert (window.mean, window.std) == (-400.0, 500.0)
        slices = window.image[:, 3, 3] // 10
        np.testing.assert_array_equal(slices, np.arange(slices[0], slices[0] + 16))
        np.testing.assert_array_equal(label[:, 3, 3], slices % 8)
        starts.append(slices[0])
    counts = np.bincount(starts)
    assert len(counts) == 25
    assert np.all(np.abs(counts - 24) < 5 * np.sqrt(24))


def test_beyond_a_short_volume_there_is_air_to_ignore(stages):
    samples = _samples(stages, studies=("short",))
    tops = set()
    for index in range(100):
        window, label, _ = samples.sample(0, index)
        outside = label[:, 0, 0] == IGNORE_LABEL
        assert outside.sum() == 6
        assert np.all(window.image[outside] == -1000)
        assert np.all(label[outside] == IGNORE_LABEL)
        tops.add(int(np.argmin(outside)))
    assert tops == set(range(7))


def test_draws_are_the_same_in_any_order(stages):
    samples, again = _samples(stages, LOUD), _samples(stages, LOUD)
    first = [samples.sample(5, index) for index in range(8)]
    for index in reversed(range(8)):
        window, label, study = again.sample(5, index)
        np.testing.assert_array_equal(window.image, first[index][0].image)
        np.testing.assert_array_equal(label, first[index][1])
        assert study == first[index][2]
    assert np.any(samples.sample(6, 0)[0].image != first[0][0].image)


@pytest.mark.parametrize(("start", "values"), [(-2, [9, 9, 0, 1]), (1, [1, 2, 3, 4]), (4, [4, 5, 9, 9])])
def test_cut_slices_fills_what_the_volume_lacks(start, values):
    volume = np.arange(6, dtype=np.int16)[:, None, None]
    assert cut_slices(volume, start, 4, 9)[:, 0, 0].tolist() == values
