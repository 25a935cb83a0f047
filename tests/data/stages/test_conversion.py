"""A shard, from folders to manifests: what is made, what is found again, what is refused."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from spine_models.configuration.user_folders import UserFolders
from spine_models.data.dataset.folds import FoldSettings
from spine_models.data.dataset.index import read_index, write_index
from spine_models.data.dataset.uids import study_id
from spine_models.data.dicom.study import VolumeSettings, decode_planes, open_study
from spine_models.data.labels.nifti import LabelSettings
from spine_models.data.stages import convert_labels as labels_stage
from spine_models.data.stages import convert_volumes as volumes_stage
from spine_models.data.stages.collect_quarantine import (
    QuarantineInputs,
    QuarantineRow,
    QuarantineSettings,
    collect_quarantine,
    write_quarantine,
)
from spine_models.data.stages.convert_labels import LabelInputs, convert_labels
from spine_models.data.stages.convert_volumes import VolumeInputs, convert_volumes
from spine_models.data.stages.full_volumes import FullVolumes
from spine_models.data.stages.index_studies import IndexSettings, index_shard
from spine_models.data.stages.make_folds import FoldInputs, make_folds
from spine_models.errors import UserError
from spine_models.processes import ChildProcess
from spine_models.provenance.locks import folder_lock
from spine_models.provenance.manifest import read_manifest
from spine_models.provenance.records import read_record
from spine_models.provenance.shelf import Shelf
from tests.data.dicom_builder import write_stack
from tests.vouching import published

_CONFIG = {"shards": 1, "allow_symlinks": False, "phantom": {"enabled": False}}
UIDS = [f"1.2.826.{i}" for i in range(6)]
HEADER = "StudyInstanceUID,patient_overall,C1,C2,C3,C4,C5,C6,C7"
SETTINGS = VolumeSettings(z_step=2, half_size=4)


class Run:
    """A data set and what the rules make of it, in one shard."""

    def __init__(self, root: Path) -> None:
        self.dataset, self.out = root / "set", root / "out"
        for number, uid in enumerate(UIDS):
            self.add(uid, number)
        self.table(UIDS)
        (self.dataset / "segmentations").mkdir()

    def add(self, uid: str, number: int = 0) -> None:
        write_stack(self.dataset / "train_images" / uid, start=(0, 0, number), PatientID=f"P{number // 2}")

    def table(self, uids: list[str]) -> None:
        rows = [f"{uid},{i % 2},{i % 2},0,0,0,0,0,0" for i, uid in enumerate(uids)]
        (self.dataset / "train.csv").write_text("\n".join([HEADER, *rows]) + "\n")

    def label(self, uid: str, affine: np.ndarray | None = None) -> None:
        values = np.ones((5, 6, 6), np.uint8)
        affine = np.diag([-0.5, -0.5, 1, 1]) if affine is None else affine
        nib.save(nib.Nifti1Image(values, affine), self.dataset / "segmentations" / f"{uid}.nii")

    @property
    def paths(self) -> dict[str, Path]:
        return {name: self.out / name / "0.json" for name in ("volumes", "half", "labels")}

    def convert(self, code: str = "c1", settings: VolumeSettings = SETTINGS, allow_symlinks: bool = False) -> None:
        write_index(self.out / "0.csv", index_shard(self.dataset, 0, IndexSettings(1, allow_symlinks)))
        published(self.out / "0.csv")
        inputs = VolumeInputs(self.dataset, self.out / "0.csv")
        convert_volumes(inputs, self.paths["volumes"], self.paths["half"], settings, code)
        self.convert_labels(LabelSettings(allow_symlinks=allow_symlinks), code)

    def convert_labels(self, settings: LabelSettings, code: str = "c1") -> None:
        convert_labels(LabelInputs(self.dataset, self.paths["half"]), self.paths["labels"], settings, code)

    def quarantine(self) -> dict[tuple[str, str], str]:
        return {(row.study, row.stage): row.code for row in self.rows([self.paths["labels"]])}

    def rows(self, labels: Sequence[Path] = ()) -> list[QuarantineRow]:
        inputs = QuarantineInputs(self.dataset, [self.out / "0.csv"], [self.paths["half"]], labels)
        return collect_quarantine(inputs)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """Names of the studies that are decoded."""
    seen: list[str] = []
    original = volumes_stage.decode_planes

    def spy(source, settings, put):
        seen.append(source.folder.name)
        return original(source, settings, put)

    monkeypatch.setattr(volumes_stage, "decode_planes", spy)
    monkeypatch.setattr(ChildProcess, "call", lambda self, function, *args: function(*args))
    return seen


def test_arrays_records_and_manifests(run: Run) -> None:
    run.label(UIDS[1])
    run.convert()
    full, half, labels = (read_manifest(run.paths[name]) for name in ("volumes", "half", "labels"))
    assert set(full.studies) == set(half.studies) == set(UIDS)
    assert set(labels.studies) == {UIDS[1]}
    record = read_record(half.record_path(UIDS[1]))
    assert record.digest == half.studies[UIDS[1]]
    volume = Shelf([run.paths["volumes"]]).array(UIDS[1])
    label = Shelf([run.paths["labels"]]).array(UIDS[1])
    assert (volume.dtype, volume.shape) == (np.int16, (3, 6, 5))
    assert (label.dtype, label.shape) == (np.uint8, (3, 4, 4))
    assert record.facts["half_shape"] == [3, 4, 4]


def test_nothing_is_decoded_twice(run: Run, decoded: list[str]) -> None:
    run.convert()
    before = {name: path.read_bytes() for name, path in run.paths.items()}
    assert sorted(decoded) == UIDS
    decoded.clear()
    run.convert()
    assert decoded == []
    assert before == {name: path.read_bytes() for name, path in run.paths.items()}


def test_adding_one_study_decodes_one_study(run: Run, decoded: list[str]) -> None:
    run.convert()
    decoded.clear()
    run.add("1.2.826.77", 9)
    run.convert()
    assert decoded == ["1.2.826.77"]


def test_files_that_were_only_touched_or_renamed_are_hashed_but_not_decoded(run: Run, decoded: list[str]) -> None:
    run.convert()
    decoded.clear()
    for path in (run.dataset / "train_images" / UIDS[0]).iterdir():
        os.utime(path, ns=(10, 10))
    run.convert()
    assert decoded == []


def test_content_that_changed_is_decoded_anew(run: Run, decoded: list[str]) -> None:
    run.convert()
    decoded.clear()
    path = run.dataset / "train_images" / UIDS[2] / "0.dcm"
    path.write_bytes(path.read_bytes()[:-1] + b"\x05")
    run.convert()
    assert decoded == [UIDS[2]]


def test_a_changed_setting_or_code_is_decoded_anew(run: Run, decoded: list[str]) -> None:
    run.convert()
    decoded.clear()
    run.convert(settings=VolumeSettings(z_step=1, half_size=4))
    assert sorted(decoded) == UIDS
    decoded.clear()
    run.convert(settings=VolumeSettings(z_step=1, half_size=4, hu_limits=(0, 300)))
    assert sorted(decoded) == UIDS
    decoded.clear()
    run.convert(code="c2")
    assert sorted(decoded) == UIDS


def test_allowing_links_decodes_nothing(run: Run, decoded: list[str]) -> None:
    run.convert()
    decoded.clear()
    run.convert(settings=VolumeSettings(2, 4, allow_symlinks=True))
    assert decoded == []


def test_a_damaged_array_is_made_anew(run: Run, decoded: list[str]) -> None:
    run.convert()
    decoded.clear()
    path = run.paths["half"].with_suffix("") / f"{UIDS[3]}.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x99")
    run.convert()
    assert decoded == [UIDS[3]]


def test_arrays_of_studies_that_are_gone_are_removed(run: Run) -> None:
    run.label(UIDS[0])
    run.convert()
    shutil.rmtree(run.dataset / "train_images" / UIDS[0])
    run.convert()
    for path in run.paths.values():
        assert not [p for p in path.with_suffix("").iterdir() if p.name.startswith(f"{UIDS[0]}.")]
    assert UIDS[0] not in read_manifest(run.paths["half"]).studies


def test_a_label_is_made_anew_when_it_or_the_geometry_changes_alone(run: Run, monkeypatch) -> None:
    run.label(UIDS[0])
    run.label(UIDS[1])
    run.convert()
    seen = []
    original = labels_stage.read_label
    monkeypatch.setattr(labels_stage, "read_label", lambda path, *rest: seen.append(path.name) or original(path, *rest))
    monkeypatch.setattr(ChildProcess, "call", lambda self, function, *args: function(*args))
    run.convert()
    assert seen == []
    run.label(UIDS[1], np.diag([-0.5, -0.5, 2, 1]))
    run.convert()
    assert seen == [f"{UIDS[1]}.nii"]
    seen.clear()
    run.convert(settings=VolumeSettings(z_step=1, half_size=4))
    assert seen == [f"{UIDS[0]}.nii", f"{UIDS[1]}.nii"]


def test_the_stack_of_the_label_map_is_converted_and_follows_it(run: Run, decoded: list[str]) -> None:
    """Study 0 has a neck of 6 slices and a chest of 9; the label map is moved from one to the other."""
    chest = run.dataset / "train_images" / UIDS[0] / "chest"
    write_stack(chest, count=9, start=(0, 0, -50), PatientID="P0", SeriesInstanceUID="1.2.2")
    for move, slices in ((-5, 6), (-58, 9)):
        affine = np.diag([-0.5, -0.5, 1.0, 1.0])
        affine[2, 3] = move
        values = np.ones((5, 6, slices), np.uint8)
        nib.save(nib.Nifti1Image(values, affine), run.dataset / "segmentations" / f"{UIDS[0]}.nii")
        run.convert(settings=VolumeSettings(z_step=1, half_size=4))
        assert read_record(read_manifest(run.paths["half"]).record_path(UIDS[0])).facts["slices"] == slices
        assert run.quarantine() == {}
        dropped = VolumeSettings(z_step=1, half_size=4, keep_volumes=False)
        full = FullVolumes(run.paths["volumes"], run.dataset, dropped)
        full.release(UIDS[0])
        assert full.array(UIDS[0], ChildProcess()).shape == (slices, 6, 5)
    assert decoded.count(UIDS[0]) == 2
    assert decoded.count(UIDS[1]) == 1


def test_bad_studies_end_in_quarantine_and_the_rest_goes_on(run: Run) -> None:
    images = run.dataset / "train_images"
    for path in list((images / UIDS[0]).iterdir())[1:]:
        path.unlink()
    (images / "John Doe").mkdir()
    (images / "1.2.9").mkdir()
    (images / "1.2.10").symlink_to("/usr/share", target_is_directory=True)
    run.label(UIDS[1])
    run.label(UIDS[2], np.array([[1.0, 0, 0, 900], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    run.label("1.2.78")
    (run.dataset / "segmentations" / f"{UIDS[3]}.nii").write_bytes(b"junk" * 99)
    run.add("1.2.55")
    run.table([*UIDS, "1.2.77"])
    run.convert()
    assert run.quarantine() == {
        (UIDS[0], "volumes"): "too_few_slices",
        (study_id("John Doe"), "index"): "folder_name",
        ("1.2.9", "index"): "no_images",
        ("1.2.10", "index"): "link_outside",
        (UIDS[2], "labels"): "label_geometry",
        (UIDS[3], "labels"): "label_damaged",
        ("1.2.55", "tables"): "not_in_table",
        ("1.2.77", "tables"): "no_folder",
        ("1.2.78", "labels"): "no_folder",
    }
    assert set(read_manifest(run.paths["labels"]).studies) == {UIDS[1]}


@pytest.mark.parametrize("folder", ["train_images", "segmentations"])
def test_a_folder_of_the_data_set_that_is_a_link_out_of_it_is_refused_unless_allowed(run: Run, folder) -> None:
    run.label(UIDS[0])
    elsewhere = run.dataset.parent / "elsewhere"
    (run.dataset / folder).rename(elsewhere)
    (run.dataset / folder).symlink_to(elsewhere, target_is_directory=True)
    run.convert()
    refused = set(UIDS) if folder == "train_images" else {UIDS[0]}
    assert {study for (study, _), code in run.quarantine().items() if code == "link_outside"} == refused
    run.convert(settings=VolumeSettings(2, 4, allow_symlinks=True), allow_symlinks=True)
    assert set(read_manifest(run.paths["labels"]).studies) == {UIDS[0]}
    assert run.quarantine() == {}


def test_labels_without_usable_affines_are_placed_by_index_where_that_is_configured(run: Run) -> None:
    path = run.dataset / "segmentations" / f"{UIDS[0]}.nii"
    image = nib.Nifti1Image(np.ones((5, 6, 6), np.uint8), np.eye(4))
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nib.save(image, path)
    run.convert()
    assert run.quarantine()[UIDS[0], "labels"] == "label_geometry"
    run.convert_labels(LabelSettings("index"))
    assert run.quarantine() == {}


def test_a_folder_name_that_may_be_a_persons_is_kept_in_the_index_alone(run: Run) -> None:
    (run.dataset / "train_images" / "John Doe").mkdir()
    run.convert()
    row = next(row for row in read_index(run.out / "0.csv") if row.folder == "John Doe")
    assert row.study == study_id("John Doe")
    write_quarantine(run.out / "q.csv", run.rows(), QuarantineSettings())
    for path in run.out.rglob("*"):
        if path.is_file() and path.name != "0.csv":
            assert b"John" not in path.read_bytes()
            assert b"SECRET" not in path.read_bytes()
        assert "John" not in path.name


def test_names_of_folders_and_files_may_be_any_bytes(run: Run) -> None:
    images = run.dataset / "train_images"
    (images / os.fsdecode(b"M\xfcller")).mkdir()
    (images / 'Müller, 患者\n"x"').mkdir()
    (images / UIDS[0] / "0.dcm").rename(images / UIDS[0] / os.fsdecode(b"M\xfcller.dcm"))
    (images / UIDS[0] / "1.dcm").rename(images / UIDS[0] / "患者.dcm")
    run.convert()
    assert sorted(read_manifest(run.paths["half"]).studies) == UIDS
    assert {row.folder for row in read_index(run.out / "0.csv")} == {*UIDS, "M\\udcfcller", 'Müller, 患者\n"x"'}
    assert set(run.quarantine().values()) == {"folder_name"}


def test_patients_whose_ids_are_in_other_scripts_are_not_one(run: Run) -> None:
    for number, uid in enumerate(UIDS):
        shutil.rmtree(run.dataset / "train_images" / uid)
        write_stack(
            run.dataset / "train_images" / uid,
            SpecificCharacterSet="ISO_IR 192",
            PatientID=f"患者{'甲乙丙'[number // 2]}",
        )
    run.convert()
    groups = [line.split(",")[1] for line in folds_of(run)[1][1:]]
    assert [groups.index(group) for group in groups] == [0, 0, 2, 2, 4, 4]


def test_strict_writes_the_table_and_stops(run: Run) -> None:
    run.table(UIDS[1:])
    run.convert()
    rows = run.rows()
    with pytest.raises(UserError, match="1 entries are in quarantine"):
        write_quarantine(run.out / "q.csv", rows, QuarantineSettings(strict=True))
    assert (run.out / "q.csv").read_text().splitlines() == [
        "study,stage,code,reason",
        f"{UIDS[0]},tables,not_in_table,train.csv has no row for this study",
    ]
    write_quarantine(run.out / "q.csv", [], QuarantineSettings(strict=True))


def test_a_wrong_table_stops_before_any_conversion(run: Run) -> None:
    run.table([UIDS[0], UIDS[0]])
    with pytest.raises(UserError, match=r"train\.csv line 3"):
        index_shard(run.dataset, 0, IndexSettings(shards=1))


def test_a_second_writer_is_stopped(run: Run) -> None:
    run.convert()
    with folder_lock(run.paths["half"].with_suffix("")), pytest.raises(UserError, match="is being written by process"):
        run.convert()


def folds_of(run: Run, folds_csv: str = "") -> tuple[list[str], list[str]]:
    outputs = run.out / "s.csv", run.out / "c.csv"
    settings = FoldSettings(seed=1, segmentation_folds=2, classification_parts=3, folds_csv=folds_csv)
    inputs = FoldInputs(run.dataset, [run.paths["half"]], [run.paths["labels"]])
    make_folds(inputs, outputs, run.out / "state", settings)
    tables = [path.read_text().splitlines() for path in outputs]
    return tables[0], tables[1]


def test_folds_are_over_the_studies_that_are_left(run: Run) -> None:
    for uid in (UIDS[0], UIDS[1], UIDS[2], UIDS[5]):
        run.label(uid)
    run.table(UIDS[:5])
    run.convert()
    segmentation, classification = folds_of(run)
    assert [line.split(",")[0] for line in segmentation[1:]] == [UIDS[0], UIDS[1], UIDS[2], UIDS[5]]
    assert [line.split(",")[0] for line in classification[1:]] == UIDS[:5]
    rows = [line.split(",") for line in classification[1:]]
    assert rows[0][1:] == rows[1][1:], "two studies of one patient have one group and one fold"
    assert rows[0][1] != rows[2][1]
    assert "P0" not in "".join(classification)


def test_a_users_folds_are_taken(run: Run, tmp_path: Path) -> None:
    run.convert()
    path = tmp_path / "mine.csv"
    path.write_text("StudyInstanceUID,fold\n" + "".join(f"{uid},{i // 2}\n" for i, uid in enumerate(UIDS)))
    assert [line[-1] for line in folds_of(run, str(path))[1][1:]] == list("001122")


def test_no_labels_at_all_give_an_empty_segmentation_table(run: Run) -> None:
    run.convert()
    assert folds_of(run)[0] == ["StudyInstanceUID,group,fold"]


def test_a_data_set_whose_label_maps_number_levels_otherwise_stops(run: Run) -> None:
    for study in UIDS[:2]:
        path = run.dataset / "segmentations" / f"{study}.nii"
        nib.save(nib.Nifti1Image(np.full((5, 6, 6), 44, np.uint8), np.eye(4)), path)
    run.convert()
    with pytest.raises(UserError, match=r"none of the 2 label maps shows C1 to C7.*label_numbers"):
        run.quarantine()


def test_a_study_that_fails_is_no_refusal_and_the_others_are_kept(run: Run, monkeypatch) -> None:
    def crash(source, settings, put):
        if source.folder.name == UIDS[1]:
            raise MemoryError
        return decode_planes(source, settings, put)

    monkeypatch.setattr(volumes_stage, "decode_planes", crash)
    monkeypatch.setattr(ChildProcess, "call", lambda self, function, *args: function(*args))
    with pytest.raises(UserError, match=f"the study {UIDS[1]} failed"):
        run.convert()
    assert not run.paths["half"].exists()
    assert (run.paths["half"].with_suffix("") / f"{UIDS[2]}.json").exists()
    monkeypatch.undo()
    run.convert()
    assert set(read_manifest(run.paths["half"]).studies) == set(UIDS)


def changing(monkeypatch, run: Run, times: int) -> list[str]:
    """Let a file of the first study change while it is decoded, as often as ``times``; return the decoded studies."""
    seen: list[str] = []
    call = ChildProcess.call

    def call_and_change(self, function, *args, **more):
        result = call(self, function, *args, **more)
        if function is open_study and args[0].name == UIDS[0] and len(seen) < times:
            seen.append(UIDS[0])
            path = sorted(args[0].iterdir())[0]
            path.write_bytes(path.read_bytes() + bytes(2 * len(seen)))
        return result

    monkeypatch.setattr(ChildProcess, "call", call_and_change)
    monkeypatch.setattr("spine_models.data.dataset.disk.time.sleep", lambda seconds: None)
    return seen


def test_a_study_that_changes_while_it_is_read_is_read_again(run: Run, monkeypatch) -> None:
    seen = changing(monkeypatch, run, times=1)
    run.convert()
    assert seen == [UIDS[0]]
    assert sorted(read_manifest(run.paths["volumes"]).studies) == UIDS
    made = read_record(run.out / "volumes" / "0" / f"{UIDS[0]}.json").key
    run.convert(code="c2")  # nothing changes now, and everything is read anew
    assert read_record(run.out / "volumes" / "0" / f"{UIDS[0]}.json").key.inputs == made.inputs


def test_a_study_that_was_cut_while_it_was_read_and_is_whole_again_is_read_again(run: Run, monkeypatch) -> None:
    """Size and time are what they were: only the time of the last change tells."""
    file = next((run.dataset / "train_images" / UIDS[0]).iterdir())
    data, there = file.read_bytes(), file.stat()
    opened = []

    def cut_once(*arguments):
        if not opened:
            file.write_bytes(data[: len(data) // 2])
        try:
            return open_study(*arguments)
        finally:
            if not opened:
                file.write_bytes(data)
                os.utime(file, ns=(there.st_atime_ns, there.st_mtime_ns))
            opened.append(arguments)

    monkeypatch.setattr(volumes_stage, "open_study", cut_once)
    monkeypatch.setattr(ChildProcess, "call", lambda self, function, *arguments: function(*arguments))
    run.convert()
    manifest = read_manifest(run.paths["volumes"])
    assert (sorted(manifest.studies), manifest.refused) == (UIDS, {})
    assert len(opened) == len(UIDS) + 1


def test_studies_that_could_not_be_used_as_they_were_are_read_again_once_they_are_mended(run: Run, tmp_path) -> None:
    """A plan looks at folders; in these, files become whole without another time of the folder."""
    folders = UserFolders(_CONFIG | {"dataset_dir": str(run.dataset), "output_dir": str(run.out)})
    lost, refused = (sorted((run.dataset / "train_images" / uid).iterdir()) for uid in UIDS[:2])
    whole = {path: path.read_bytes() for path in (lost[0], *refused)}
    for path in whole:
        path.write_bytes(path.read_bytes()[:300])
    run.label(UIDS[2])
    label = run.dataset / "segmentations" / f"{UIDS[2]}.nii"
    label_data = label.read_bytes()
    label.write_bytes(label_data[:100])
    run.convert()
    assert set(read_manifest(run.paths["volumes"]).refused) == {UIDS[1]}
    assert set(read_manifest(run.paths["labels"]).refused) == {UIDS[2]}
    (run.out / "labels_half").symlink_to(run.out / "labels")
    assert (folders.images_mended(0), folders.labels_mended(0)) == ("", "")
    for path in refused:
        path.write_bytes(whole[path])
    one = folders.images_mended(0)
    lost[0].write_bytes(whole[lost[0]])
    both = folders.images_mended(0)
    assert len({"", one, both}) == 3
    label.write_bytes(label_data)
    assert folders.labels_mended(0) != ""


def test_a_study_that_goes_on_to_change_is_a_sentence_and_no_volume(run: Run, monkeypatch) -> None:
    changing(monkeypatch, run, times=100)
    with pytest.raises(UserError, match="its files changed while they were read: wait until they are copied"):
        run.convert()
    assert not (run.out / "volumes" / "0" / f"{UIDS[0]}.json").exists()
    assert (run.out / "volumes" / "0" / f"{UIDS[1]}.json").exists()


def test_a_full_disk_is_a_sentence_before_anything_is_decoded(run: Run, decoded: list[str], monkeypatch) -> None:
    free = shutil.disk_usage(run.dataset)._replace(free=100)
    monkeypatch.setattr(volumes_stage.shutil, "disk_usage", lambda folder: free)
    with pytest.raises(UserError, match="No space left on device; 100 bytes are free there"):
        run.convert()
    assert decoded == []


def test_a_study_folder_on_a_disk_that_is_not_mounted_is_not_left_out(run: Run) -> None:
    folder = run.dataset / "train_images" / UIDS[3]
    shutil.rmtree(folder)
    folder.symlink_to(run.dataset / "unmounted", target_is_directory=True)
    with pytest.raises(UserError, match=rf"index_studies: the study {UIDS[3]} failed .*see that the disk is mounted"):
        run.convert()
    assert not run.out.exists()


def test_a_label_map_that_the_disk_does_not_give_is_no_refusal(run: Run) -> None:
    run.label(UIDS[0])
    run.label(UIDS[1])
    run.convert()
    run.paths["labels"].unlink()
    path = run.dataset / "segmentations" / f"{UIDS[1]}.nii"
    path.rename(run.dataset / "away.nii")
    path.symlink_to(run.dataset / "unmounted" / path.name)
    with pytest.raises(UserError, match=f"convert_labels: the study {UIDS[1]} failed"):
        run.convert_labels(LabelSettings())
    assert not run.paths["labels"].exists()
    with pytest.raises(UserError, match=f"convert_volumes: the study {UIDS[1]} failed"):
        run.convert()
    (run.dataset / "away.nii").replace(path)
    run.convert()
    assert run.quarantine() == {}


def die(*args: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_label_map_that_kills_its_reader_fails_its_study_alone(run: Run, monkeypatch) -> None:
    run.label(UIDS[0])
    monkeypatch.setattr(labels_stage, "_half_label_of", die)
    with pytest.raises(UserError, match=rf"convert_labels: the study {UIDS[0]} failed \(the process .* died"):
        run.convert()
