"""Full-size volumes that are not stored: nothing depends on it, and what needs them gets the very same voxels."""

import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest

from spine_models.data.dataset.disk import DiskError
from spine_models.data.stages import full_volumes as stage
from spine_models.data.stages.full_volumes import FullVolumes
from spine_models.errors import StudyFailedError, UserError
from spine_models.processes import ChildProcess
from spine_models.provenance.locks import folder_lock
from spine_models.provenance.manifest import read_manifest
from tests.data.dicom_builder import write_stack
from tests.data.stages.test_conversion import SETTINGS, UIDS, Run

DROPPED = replace(SETTINGS, keep_volumes=False)


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def stored(run):
    return sorted(path.stem for path in run.paths["volumes"].with_suffix("").glob("*.npy"))


def full_volumes(run, settings=DROPPED):
    return FullVolumes(run.paths["volumes"], run.dataset, settings)


def array_of(run, study, settings=DROPPED):
    with ChildProcess() as child:
        return full_volumes(run, settings).array(study, child)


def test_records_and_manifests_are_those_of_stored_volumes(run):
    run.convert()
    kept = {name: path.read_bytes() for name, path in run.paths.items()}
    record = read_manifest(run.paths["volumes"]).record_path(UIDS[0]).read_bytes()
    shutil.rmtree(run.out)
    run.convert(settings=DROPPED)
    assert stored(run) == []
    assert {name: path.read_bytes() for name, path in run.paths.items()} == kept
    assert read_manifest(run.paths["volumes"]).record_path(UIDS[0]).read_bytes() == record


@pytest.mark.parametrize("limits", [None, (20, 300)])
def test_a_volume_that_is_not_stored_is_decoded_to_the_same_voxels(run, limits):
    kept, dropped = replace(SETTINGS, hu_limits=limits), replace(DROPPED, hu_limits=limits)
    run.convert(settings=kept)
    expected = {uid: np.array(array_of(run, uid, kept)) for uid in UIDS}
    assert [expected[UIDS[0]].min(), expected[UIDS[0]].max()] == list(limits or (0, 454))
    shutil.rmtree(run.out)
    run.convert(settings=dropped)
    for uid in UIDS:
        np.testing.assert_array_equal(array_of(run, uid, dropped), expected[uid])
    assert stored(run) == []


def test_only_what_is_not_kept_is_released_and_nothing_is_made_again_for_it(run, capsys):
    run.convert()
    full_volumes(run, SETTINGS).release(UIDS[0])
    assert UIDS[0] in stored(run)
    full_volumes(run).release(UIDS[0])
    assert stored(run) == UIDS[1:]
    full_volumes(run).release(UIDS[0])
    capsys.readouterr()
    run.convert(settings=DROPPED)
    assert "convert_volumes: 0 of 6 studies made, 6 reused\n" in capsys.readouterr().err


def test_an_added_study_is_the_only_one_that_is_decoded(run, capsys):
    run.convert(settings=DROPPED)
    run.add("1.2.826.77", 9)
    capsys.readouterr()
    run.convert(settings=DROPPED)
    assert "convert_volumes: 1 of 7 studies made, 6 reused\n" in capsys.readouterr().err


def test_keeping_them_again_stores_them_at_the_next_conversion(run, capsys):
    run.convert(settings=DROPPED)
    capsys.readouterr()
    run.convert()
    assert "convert_volumes: 6 of 6 studies made, 0 reused\n" in capsys.readouterr().err
    assert stored(run) == UIDS


def test_a_stored_volume_of_other_pixels_does_not_outlive_its_record(run):
    run.convert()
    write_stack(run.dataset / "train_images" / UIDS[0], start=(0, 0, 0), PatientID="P0", RescaleIntercept=-7)
    run.convert(settings=DROPPED)
    assert stored(run) == UIDS[1:]
    assert array_of(run, UIDS[0]).shape == (3, 6, 5)


def test_files_that_changed_since_the_conversion_are_named(run):
    run.convert(settings=DROPPED)
    folder = run.dataset / "train_images" / UIDS[0]
    write_stack(folder, start=(0, 0, 0), PatientID="P0", RescaleIntercept=-7)
    with pytest.raises(UserError, match=rf"study {UIDS[0]} is no longer what .*--forcerun index_studies"):
        array_of(run, UIDS[0])


def test_a_folder_that_is_gone_is_an_error_of_the_disk(run):
    run.convert(settings=DROPPED)
    shutil.rmtree(run.dataset / "train_images" / UIDS[0])
    with pytest.raises(DiskError, match=r"cannot be read .*see that the disk is mounted"):
        array_of(run, UIDS[0])


def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_decoder_that_dies_fails_its_study_alone(run, monkeypatch):
    run.convert(settings=DROPPED)
    with monkeypatch.context() as broken, ChildProcess() as child:
        broken.setattr(stage, "decode_study", die)
        with pytest.raises(StudyFailedError, match="the process that read the study died"):
            full_volumes(run).array(UIDS[0], child)
        broken.undo()
        assert full_volumes(run).array(UIDS[1], child).shape == (3, 6, 5)


def test_a_damaged_volume_is_an_error_and_not_decoded_in_silence(run):
    run.convert()
    path = run.paths["volumes"].with_suffix("") / f"{UIDS[0]}.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"snakemake --force \S*volumes/0.json"):
        array_of(run, UIDS[0])


def test_nothing_is_removed_from_a_shard_that_is_being_written(run):
    run.convert()
    with (
        folder_lock(run.paths["volumes"].with_suffix("")),
        pytest.raises(UserError, match="is being written by process"),
    ):
        full_volumes(run).release(UIDS[0])
    assert stored(run) == UIDS
