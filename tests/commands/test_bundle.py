"""``spine-models bundle``: what it says, what it finds, and that a subset is a bundle."""

from dataclasses import replace

import pytest
import torch

from spine_models.commands.app import main
from spine_models.inference.bundle import load_bundle
from spine_models.inference.bundle_networks import load_classifiers


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["bundle", *map(str, arguments)])
    said = capsys.readouterr()
    return ended.value.code, said.out + said.err


def test_info_says_what_it_learnt_from_and_what_it_is_not_for(bundle_folder, capsys):
    status, said = run(capsys, "info", bundle_folder)
    assert status == 0
    for expected in (
        load_bundle(bundle_folder).digest,
        "3 phantoms, not patients",
        "not a medical device",
        "none known",
    ):
        assert expected in said


def test_verify_compares_every_network(bundle_folder, capsys):
    assert run(capsys, "verify", bundle_folder)[0] == 0
    path = bundle_folder / load_bundle(bundle_folder).classification[1].file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    status, said = run(capsys, "verify", bundle_folder)
    assert status == 1
    assert f"{path.name} differs from its checksum" in said


def test_a_subset_is_a_bundle_with_those_classifiers(bundle_folder, tmp_path, capsys):
    whole = load_bundle(bundle_folder)
    names = [entry.name for entry in whole.classification]
    status, said = run(capsys, "subset", bundle_folder, "--members", names[1], "--out", tmp_path / "one")
    assert (status, said) == (0, f"{tmp_path / 'one'} holds 1 of 2 classifiers\n")
    found = load_bundle(tmp_path / "one")
    assert [entry.name for entry in found.classification] == names[1:]
    assert [entry.sha256 for entry in found.segmentation] == [entry.sha256 for entry in whole.segmentation]
    assert (found.settings, found.prior) == (whole.settings, whole.prior)
    assert found.provenance["subset_of"] == whole.digest
    assert found.digest != whole.digest


def test_a_packed_bundle_is_the_bundle(bundle_folder, tmp_path, capsys):
    status, said = run(capsys, "pack", bundle_folder, "--out", tmp_path / "all.zip")
    whole, packed = load_bundle(bundle_folder), load_bundle(tmp_path / "all.zip")
    assert (status, said) == (
        0,
        f"{tmp_path / 'all.zip'} holds the bundle {whole.digest}: use it wherever a bundle's folder is asked for\n",
    )
    assert replace(packed, place=None) == replace(whole, place=None)
    for ours, theirs in zip(load_classifiers(packed), load_classifiers(whole), strict=True):
        assert all(torch.equal(ours.state_dict()[name], value) for name, value in theirs.state_dict().items())
    assert run(capsys, "info", tmp_path / "all.zip") == run(capsys, "info", bundle_folder)
    assert "is whole: 3 networks" in run(capsys, "verify", tmp_path / "all.zip")[1]
    assert run(capsys, "subset", tmp_path / "all.zip", "--members", "ir", "--out", tmp_path / "ir")[0] == 0
    assert [entry.sha256 for entry in load_bundle(tmp_path / "ir").segmentation] == [
        e.sha256 for e in whole.segmentation
    ]
    data = bytearray((tmp_path / "all.zip").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "all.zip").write_bytes(data)
    status, said = run(capsys, "verify", tmp_path / "all.zip")
    assert status == 1
    assert "differs from its checksum: copy the bundle again, or pack it anew" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("info", "BUNDLE", "--members", "ir"), "belong to `spine-models bundle subset`"),
        (("subset", "BUNDLE"), "a subset needs --members"),
        (("subset", "BUNDLE", "--members", "xy", "--out", "OUT"), "--members xy fits no network"),
        (("subset", "BUNDLE", "--members", "ir,", "--out", "OUT"), "--members without a name fits no network"),
        (("subset", "BUNDLE", "--members", "ir", "--out", "BUNDLE"), "is there already: name a new folder"),
        (("pack", "BUNDLE"), "pack needs --out, a file that ends in .zip"),
        (("pack", "BUNDLE", "--out", "OUT"), "does not end in .zip"),
        (("verify", "OUT"), "is not a bundle"),
    ],
)
def test_a_mistake_is_one_sentence(bundle_folder, tmp_path, capsys, arguments, sentence):
    places = {"BUNDLE": bundle_folder, "OUT": tmp_path / "out"}
    status, said = run(capsys, *(places.get(word, word) for word in arguments))
    assert status == 1
    assert said.startswith("error: ")
    assert sentence in said
