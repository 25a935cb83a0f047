from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spine_models.data.dataset.layout import (
    folders_digests,
    list_files,
    list_study,
    require_dataset,
    require_train_table,
    stat_digest,
)
from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.data.dataset.shards import shard_of
from spine_models.data.dataset.uids import study_id
from spine_models.errors import UserError


def test_a_shard_is_the_same_on_every_machine() -> None:
    assert [shard_of(f"1.2.{i}", 64) for i in range(4)] == [int(x) for x in SHARDS.split()]
    counts = [0] * 8
    for number in range(4000):
        counts[shard_of(f"1.2.826.0.1.3680043.{number}", 8)] += 1
    assert min(counts) > 400


SHARDS = "11 38 48 24"


def make_dataset(root: Path, studies: int = 5) -> Path:
    (root / "train_images").mkdir(parents=True)
    for number in range(studies):
        (root / "train_images" / f"1.2.{number}").mkdir()
    (root / "train.csv").touch()
    return root


@pytest.mark.parametrize(
    ("lacking", "expected"),
    [("", ""), ("train_images", "lacks train_images/")],
)
def test_one_sentence_says_what_a_data_set_must_contain(tmp_path, lacking, expected) -> None:
    root = make_dataset(tmp_path / "set", studies=0)
    if not lacking:
        assert require_dataset(root) == root
        return
    (root / lacking).rename(tmp_path / "away")
    with pytest.raises(UserError) as caught:
        require_dataset(root)
    text = str(caught.value)
    assert expected in text
    for part in ("train_images/<StudyInstanceUID>", "segmentations/", "train.csv", "`make demo` needs none"):
        assert part in text
    assert "\n" not in text


def test_what_learns_fractures_needs_the_table(tmp_path) -> None:
    root = make_dataset(tmp_path / "set", studies=0)
    assert require_train_table(root) == root / "train.csv"
    (root / "train.csv").unlink()
    assert require_dataset(root) == root
    with pytest.raises(
        UserError, match=r"lacks train\.csv: it must contain .*; `snakemake mask_bundle` trains without"
    ):
        require_train_table(root)


@pytest.mark.parametrize(("path", "expected"), [("", "dataset_dir is not set"), ("/nowhere/at/all", "is not a folder")])
def test_no_data_set_at_all(path, expected) -> None:
    with pytest.raises(UserError, match=expected):
        require_dataset(path)


def test_only_the_shard_of_a_changed_study_changes(tmp_path) -> None:
    root = make_dataset(tmp_path)
    before = folders_digests(root, 4)
    assert before == folders_digests(root, 4)
    os.utime(root / "train_images" / "1.2.3", ns=(1, 1))
    after = folders_digests(root, 4)
    assert {shard for shard in before if before[shard] != after[shard]} == {shard_of("1.2.3", 4)}
    (root / "train_images" / "1.2.99").mkdir()
    changed = folders_digests(root, 4)
    assert {shard for shard in after if changed[shard] != after[shard]} == {shard_of("1.2.99", 4)}


def test_planning_needs_no_heavy_import() -> None:
    code = (
        "import sys; import spine_models.data.dataset.layout; "
        "print([m for m in ('numpy', 'pandas', 'pydicom', 'pandera', 'torch') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_files_are_listed_below_the_study_and_links_out_of_it_refused(tmp_path) -> None:
    study = tmp_path / "images" / "1.2"
    (study / "S1" / "deep").mkdir(parents=True)
    for name in ("b", "a", "S1/c", "S1/deep/d"):
        (study / name).write_text(name)
    root = tmp_path / "images"
    files = list_files(study, root, allow_symlinks=False)
    assert [file.name for file in files] == ["S1/c", "S1/deep/d", "a", "b"]
    assert [file.size for file in files] == [4, 9, 1, 1]
    (study / "inside").symlink_to(study / "a")
    assert len(list_files(study, root, allow_symlinks=False)) == 5
    (tmp_path / "secret").write_text("outside")
    for target in (tmp_path / "secret", tmp_path):
        link = study / "out"
        link.symlink_to(target)
        with pytest.raises(StudyRefused) as caught:
            list_files(study, root, allow_symlinks=False)
        assert caught.value.code == RefusalCode.LINK_OUTSIDE
        assert str(tmp_path) not in caught.value.reason
        link.unlink()


def test_links_that_lead_in_circles_do_not_hang(tmp_path) -> None:
    study = tmp_path / "1.2"
    study.mkdir()
    (study / "a").write_text("a")
    (study / "circle").symlink_to(study)
    assert {Path(file.name).name for file in list_files(study, tmp_path, allow_symlinks=False)} == {"a"}


def test_the_stat_digest_sees_names_sizes_and_times(tmp_path) -> None:
    path = tmp_path / "1.2" / "a"
    path.parent.mkdir()
    path.write_text("a")

    def digest() -> str:
        return stat_digest(list_files(tmp_path / "1.2", tmp_path, allow_symlinks=False))

    seen = [digest()]
    os.utime(path, ns=(5, 5))
    seen.append(digest())
    path.write_text("ab")
    os.utime(path, ns=(5, 5))
    seen.append(digest())
    path.rename(path.with_name("b"))
    seen.append(digest())
    assert len(set(seen)) == 4


def test_a_uid_with_a_space_behind_it_is_named_as_that(tmp_path) -> None:
    (tmp_path / "1.2.3 ").mkdir()
    with pytest.raises(StudyRefused, match="begins or ends with a space") as caught:
        list_study(tmp_path, "1.2.3 ", allow_symlinks=False)
    assert caught.value.code == RefusalCode.FOLDER_NAME
    assert study_id("1.2.3 ") == "1.2.3"


@pytest.mark.parametrize("deep", [6, 20])
def test_folders_far_down_are_read_or_named(tmp_path, deep) -> None:
    folder = tmp_path.joinpath("1.2.3", *["x"] * deep)
    folder.mkdir(parents=True)
    (folder / "a").touch()
    if deep == 6:
        assert len(list_files(tmp_path / "1.2.3", tmp_path, False)) == 1
    else:
        with pytest.raises(StudyRefused, match="more than 16 deep"):
            list_files(tmp_path / "1.2.3", tmp_path, False)
