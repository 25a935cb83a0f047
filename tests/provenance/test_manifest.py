import pytest

from spine_models.errors import UserError
from spine_models.provenance.keys import Key
from spine_models.provenance.manifest import read_manifest, read_manifests, write_manifest
from spine_models.provenance.records import write_record


def test_a_manifest_comes_back_and_knows_where_records_lie(tmp_path):
    path = tmp_path / "volumes" / "3.json"
    write_manifest(path, {"1.2": "digest"}, {"1.3": {"code": "no_pixels", "reason": "It has no pixels."}})
    manifest = read_manifest(path)
    assert manifest.studies == {"1.2": "digest"}
    assert manifest.refused["1.3"]["code"] == "no_pixels"
    assert manifest.record_path("1.2") == tmp_path / "volumes" / "3" / "1.2.json"


def test_the_record_of_a_study_is_the_one_that_the_manifest_names(tmp_path):
    key = Key("convert_volumes", {}, {}, "code")
    made = write_record(tmp_path / "3" / "1.2.json", key, {}, {"mean": 1.5})
    write_manifest(tmp_path / "3.json", {"1.2": made.digest}, {})
    assert read_manifest(tmp_path / "3.json").record("1.2") == made
    write_record(tmp_path / "3" / "1.2.json", key, {}, {"mean": 2.5})
    with pytest.raises(UserError, match=r"1.2.json differs from its digest: run `snakemake --force \S*3.json`"):
        read_manifest(tmp_path / "3.json").record("1.2")


def test_manifests_come_in_one_order(tmp_path):
    for shard in ("1", "0", "2"):
        write_manifest(tmp_path / f"{shard}.json", {shard: shard}, {})
    paths = [tmp_path / f"{shard}.json" for shard in ("2", "0", "1")]
    assert [list(manifest.studies) for manifest in read_manifests(paths)] == [["0"], ["1"], ["2"]]


@pytest.mark.parametrize(
    "content", [None, "", '{"studies": {', "[]", '{"studies": {}}', '{"studies": 3, "refused": {}}']
)
def test_a_damaged_manifest_is_a_sentence_that_names_the_repair(tmp_path, content):
    path = tmp_path / "3.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"3.json is missing or damaged: run `snakemake --force \S*3.json`"):
        read_manifest(path)
