"""The one loop over a shard: what it finds, makes, refuses, removes and writes."""

import pytest

from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused
from spine_models.errors import UserError
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


def test_a_shard_that_fails_writes_no_manifest_and_removes_nothing(tmp_path):
    _work(tmp_path / "0.json", ["1", "2"])
    before = (tmp_path / "0.json").read_bytes()
    with pytest.raises(ZeroDivisionError), open_shard("make_things", tmp_path / "0.json") as shard, shard.study("1"):
        raise ZeroDivisionError
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
