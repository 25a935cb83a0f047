from __future__ import annotations

import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from spine_models.commands.app import main
from spine_models.data.stages import check_dataset as checking
from spine_models.data.stages.check_dataset import check_dataset, summary_lines
from spine_models.errors import UserError
from tests.data.dicom_builder import write_stack
from tests.data.stages.test_conversion import UIDS, Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def looked_at(run: Run, output_dir: Path | None = None) -> checking.DatasetReport:
    return check_dataset(run.dataset, False, output_dir, 2, lambda files: None)


def test_it_finds_what_the_conversion_refuses_without_decoding(run: Run, monkeypatch) -> None:
    """The same data set as in the test of the rules: the same entries, but for pixels that only decoding shows."""
    images = run.dataset / "train_images"
    for path in list((images / UIDS[0]).iterdir())[1:]:
        path.unlink()
    (images / "John Doe").mkdir()
    (images / "1.2.10").symlink_to("/usr/share", target_is_directory=True)
    path = images / UIDS[4] / "3.dcm"
    path.write_bytes(path.read_bytes()[:-20])
    run.label(UIDS[1])
    run.label("1.2.78")
    (run.dataset.parent / "a.nii").touch()
    (run.dataset / "segmentations" / f"{UIDS[5]}.nii").symlink_to(run.dataset.parent / "a.nii")
    run.label(UIDS[2], np.array([[1.0, 0, 0, 900], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    (run.dataset / "segmentations" / f"{UIDS[3]}.nii").write_bytes(b"junk" * 99)
    run.table([*UIDS, "1.2.77"])
    report = looked_at(run)
    run.convert()
    expected = run.quarantine() | {(UIDS[4], "volumes"): "pixels_damaged"}
    assert {(study, stage): code for study, stage, code, _ in report.quarantine} == expected


def test_the_summary_says_what_the_studies_look_like(run: Run) -> None:
    write_stack(run.dataset / "train_images" / UIDS[0], step=(0, 0, 1.0), instance=lambda i: i + 5, SliceThickness=2)
    write_stack(
        run.dataset / "train_images" / UIDS[1], ImageOrientationPatient=[1, 0, 0, 0, 0.8, 0.6], SliceThickness=0.8
    )  # fmt: skip
    (run.dataset / "train_images" / UIDS[3] / "2.dcm").unlink()
    run.label(UIDS[2])
    text = "\n".join(summary_lines(looked_at(run)))
    for part in (
        "6 of 6 studies can be used; 36 slices in 35 files",
        "6 to 6 slices (median 6); step 0.8 to 1 mm",
        "z falls as the file number rises in 5 studies, rises in 1, is mixed in 0; 1 do not start at number 1, "
        "1 have gaps in the numbers",
        "SliceThickness differs from the real step in 1 studies; 1 are tilted or oblique; 1 have irregular steps",
        "sizes: 6x5 (6)",
        "1.2.840.10008.1.2.1 (6)",
        "1 label maps; 0 studies with lossy",
        "patient_overall 50.0 %, C1 50.0 %, C2 0.0 %",
        "one fractured level in 3 studies, two in 0, three or more in 0",
    ):
        assert part in text


def test_labels_by_index_are_judged_by_their_size(run: Run) -> None:
    run.label(UIDS[0], np.diag([9.0, 9, 9, 1]))
    run.label(UIDS[1])
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), run.dataset / "segmentations" / f"{UIDS[2]}.nii")
    report = check_dataset(run.dataset, False, None, 1, lambda files: None, "index")
    assert [(study, code) for study, _, code, _ in report.quarantine] == [(UIDS[2], "label_geometry")]


def test_files_overwritten_in_place_are_found(run: Run) -> None:
    run.convert()
    assert looked_at(run, run.out).overwritten == []
    path = run.dataset / "train_images" / UIDS[3] / "2.dcm"
    folder_time = path.parent.stat().st_mtime_ns
    os.utime(path, ns=(7, 7))
    assert path.parent.stat().st_mtime_ns == folder_time, "the workflow's own digest does not see it"
    assert looked_at(run, run.out).overwritten == [UIDS[3]]


def test_wrong_tables_are_named_and_folders_that_are_no_data_set_refused(run: Run) -> None:
    run.table([UIDS[0], UIDS[0]])
    assert "line 3: StudyInstanceUID" in looked_at(run).mistakes[0]
    (run.dataset / "train.csv").unlink()
    (said,) = looked_at(run).mistakes
    assert "lacks train.csv" in said
    (run.dataset / "train_images").rename(run.dataset / "images")
    with pytest.raises(UserError, match="lacks train_images/"):
        looked_at(run)


@pytest.mark.parametrize(("arguments", "status"), [([], 0), (["--strict"], 1), (["--notes", "--baseline"], 0)])
def test_the_command(run: Run, capsys, arguments, status) -> None:
    shutil.rmtree(run.dataset / "train_images" / UIDS[0])
    with pytest.raises(SystemExit) as caught:
        main(["check", str(run.dataset), *arguments])
    assert caught.value.code == status
    out = capsys.readouterr().out
    assert "no_folder" in out
    assert "files/s" in out
    assert ("plain pydicom loop" in out) == ("--baseline" in arguments)


def test_nothing_of_the_patient_is_printed(run: Run, capsys) -> None:
    (run.dataset / "train_images" / "John Doe").mkdir()
    with pytest.raises(SystemExit, match="0"):
        main(["check", str(run.dataset), "--notes"])
    out = capsys.readouterr().out
    for private in ("John", "Doe", "SECRET", "1970"):
        assert private not in out


def test_a_study_that_cannot_be_looked_at_is_named_and_the_status_is_one(run: Run, monkeypatch, capsys) -> None:
    folder = run.dataset / "train_images" / UIDS[2]
    shutil.rmtree(folder)
    folder.symlink_to(run.dataset / "unmounted", target_is_directory=True)
    report = looked_at(run)
    assert [(study, stage, code) for study, stage, code, _ in report.quarantine] == [(UIDS[2], "index", "failed")]
    monkeypatch.setattr("sys.argv", ["spine-models", "check", str(run.dataset)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1


def test_a_bug_in_one_study_is_its_failure(run: Run, monkeypatch) -> None:
    original = checking.open_study

    def open_study(folder, *args):
        if folder.name == UIDS[1]:
            raise MemoryError
        return original(folder, *args)

    monkeypatch.setattr(checking, "open_study", open_study)
    settings = checking.LabelSettings()
    found = {uid: checking.check_study(run.dataset, uid, settings) for uid in UIDS[:2]}
    assert found[UIDS[0]].slices == 6
    assert found[UIDS[1]].refused[0][:2] == ("index", "failed")
