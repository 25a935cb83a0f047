"""The one loop over a shard: what it finds, makes, refuses, removes and writes."""

from contextlib import nullcontext

import pytest

from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.errors import StudyFailedError, UserError
from spine_models.provenance.locks import folder_lock
from spine_models.provenance.manifest import read_manifest
from spine_models.provenance.records import write_record
from spine_models.provenance.shard import open_shard
from tests.provenance.test_records import KEY


def _work(manifest, studies, refused=()):
    """Work through ``studies``, whose record is all that is made."""
    with open_shard("make_things", manifest) as shard:
        for study in studies:
            with shard.study(study):
                if study in refused:
                    raise StudyRefused(RefusalCode.NO_CT, "no CT slice")
                shard.result(study, KEY, lambda path: write_record(path, KEY, {}, {"study": path.stem}))
    return shard


def test_a_shard_finds_makes_and_refuses_and_says_so(tmp_path, capsys):
    _work(tmp_path / "0.json", ["1", "2", "3"], refused=["2"])
    _work(tmp_path / "0.json", ["1", "2", "3"])
    assert capsys.readouterr().err.splitlines() == [
        "make_things: 2 of 3 studies made, 0 reused, 1 refused",
        "make_things: 1 of 3 studies made, 2 reused",
    ]


def test_the_manifest_holds_digests_and_reasons(tmp_path):
    shard = _work(tmp_path / "0.json", ["1", "2"], refused=["2"])
    manifest = read_manifest(tmp_path / "0.json")
    assert manifest.studies == {"1": shard.done["1"][0].digest}
    assert manifest.refused == {"2": {"code": "no_ct", "reason": "no CT slice"}}
    assert manifest.record("1").facts == {"study": "1"}


def test_strangers_go_and_other_files_stay(tmp_path):
    _work(tmp_path / "0.json", ["1", "1.2"])
    folder = tmp_path / "0"
    for name in ("1.2_mask.npy", "1.2.png", "1.2.source.json", "1.source.json", "note.txt", "folders.csv"):
        (folder / name).touch()
    with open_shard("make_things", tmp_path / "0.json") as shard:
        shard.result("1", KEY, lambda path: pytest.fail(f"{path} is made again"))
        shard.kept.add("1.source.json")
    left = {path.name for path in folder.iterdir()}
    assert left == {"1.json", "1.source.json", "note.txt", "folders.csv", ".lock"}


def test_a_study_that_fails_does_not_take_others_along_and_is_no_refusal(tmp_path, capsys):
    """The others are finished and kept; without a manifest the next job works on the failed one again."""
    made = []

    def make(path):
        made.append(path.stem)
        return write_record(path, KEY, {}, {})

    for fails in (True, False):
        message = "make_things: the study 2 failed .ZeroDivisionError.*kept" if fails else None
        expected = pytest.raises(UserError, match=message) if fails else nullcontext()
        with expected, open_shard("make_things", tmp_path / "0.json") as shard:
            for study in "123":
                with shard.study(study):
                    if fails and study == "2":
                        raise ZeroDivisionError("SMITH")
                    shard.result(study, KEY, make)
        assert (tmp_path / "0.json").exists() is not fails
    assert made == ["1", "3", "2"]
    log = capsys.readouterr().err
    assert "2 failed: ZeroDivisionError at" in log
    assert "SMITH" not in log


def test_a_manifest_may_name_what_failed(tmp_path):
    with open_shard("make_things", tmp_path / "0.json", name_failed=True) as shard, shard.study("2"):
        raise StudyFailedError("no memory")
    assert read_manifest(tmp_path / "0.json").refused == {"2": {"code": "failed", "reason": "no memory"}}


def test_a_mistake_of_the_users_concerns_all_studies(tmp_path):
    path = tmp_path / "0.json"
    with pytest.raises(UserError, match="bundle"), open_shard("make_things", path) as shard, shard.study("1"):
        raise UserError("the bundle is damaged")


def test_a_shard_that_fails_writes_no_manifest_and_removes_nothing(tmp_path):
    _work(tmp_path / "0.json", ["1", "2"])
    before = (tmp_path / "0.json").read_bytes()
    with pytest.raises(KeyboardInterrupt), open_shard("make_things", tmp_path / "0.json") as shard, shard.study("1"):
        raise KeyboardInterrupt
    assert (tmp_path / "0.json").read_bytes() == before
    assert (tmp_path / "0" / "2.json").exists()


def test_two_manifests_share_what_is_refused(tmp_path):
    with open_shard("make_things", tmp_path / "a" / "0.json", tmp_path / "b" / "0.json") as shard:
        paths = [folder / "1.json" for folder in shard.folders]
        shard.done["1"] = tuple(write_record(path, KEY, {}, {"at": number}) for number, path in enumerate(paths))
        with shard.study("2"):
            raise StudyRefused(RefusalCode.NO_CT, "no CT slice")
    first, second = (read_manifest(tmp_path / name / "0.json") for name in ("a", "b"))
    assert first.refused == second.refused != {}
    assert [first.record("1").facts, second.record("1").facts] == [{"at": 0}, {"at": 1}]


def test_a_second_writer_is_refused(tmp_path):
    with folder_lock(tmp_path / "0"), pytest.raises(UserError, match="is being written by process"):
        _work(tmp_path / "0.json", ["1"])
