import pytest

from spine_models.errors import UserError
from spine_models.provenance.keys import Key
from spine_models.provenance.manifest import read_manifest, read_manifests, write_manifest
from spine_models.provenance.records import file_facts, write_record


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
    with pytest.raises(UserError, match=r"is not the one that \S*3.json names: run `snakemake --force \S*3.json`"):
        read_manifest(tmp_path / "3.json").record("1.2")


def test_manifests_come_in_one_order(tmp_path):
    for shard in ("1", "0", "2"):
        write_manifest(tmp_path / f"{shard}.json", {shard: shard}, {})
    paths = [tmp_path / f"{shard}.json" for shard in ("2", "0", "1")]
    assert [list(manifest.studies) for manifest in read_manifests(paths)] == [["0"], ["1"], ["2"]]


@pytest.mark.parametrize(
    "content", [None, "", '{"studies": {', "[]", '{"studies": {}}', '{"studies": {}, "refused": {}}']
)
def test_a_damaged_manifest_is_a_sentence_that_names_the_repair(tmp_path, content):
    path = tmp_path / "3.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"3.json is missing or damaged: run `snakemake --force \S*3.json`"):
        read_manifest(path)


@pytest.mark.parametrize(
    "change", [('"1.2"', '"1.3"'), ("no_pixels", "no_images"), ('"digest of it"', '"digest of  it"')]
)
def test_a_changed_value_in_a_manifest_is_noticed(tmp_path, change):
    path = tmp_path / "3.json"
    write_manifest(path, {"1.2": "digest of it"}, {"1.4": {"code": "no_pixels", "reason": "It has no pixels."}})
    assert change[0] in path.read_text()
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(UserError, match=r"3.json is missing or damaged: run `snakemake --force \S*3.json`"):
        read_manifest(path)


def test_files_of_a_study_are_compared_with_its_record(tmp_path):
    shard = tmp_path / "3"
    shard.mkdir()
    (shard / "1.2_mask.nii.gz").write_bytes(b"mask")
    files = {"1.2_mask.nii.gz": file_facts(shard / "1.2_mask.nii.gz")}
    made = write_record(shard / "1.2.json", Key("predict_studies", {}, {}, "code"), files, {})
    write_manifest(tmp_path / "3.json", {"1.2": made.digest}, {})
    manifest = read_manifest(tmp_path / "3.json")
    assert manifest.checked_files("1.2") == {"1.2_mask.nii.gz": shard / "1.2_mask.nii.gz"}
    (shard / "1.2_mask.nii.gz").write_bytes(b"mosk")
    with pytest.raises(UserError, match=r"1.2_mask.nii.gz is missing or differs .* `snakemake --force \S*3.json`"):
        manifest.checked_files("1.2")
