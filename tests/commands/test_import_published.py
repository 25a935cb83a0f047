"""``spine-models import-published``: what it says, and its sentences for mistakes."""

from pathlib import Path

import pytest

from spine_models.commands.app import main
from spine_models.inference.bundle import load_bundle
from tests.models.solution_networks import SolutionClassifier, SolutionUNet, randomised, save_checkpoint


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    save_checkpoint(folder / "dice", randomised(SolutionUNet(4, (4, 6, 12, 16), 4), seed=1), "best")
    save_checkpoint(folder / "swa.pth", randomised(SolutionClassifier("ir", 50, base=4), seed=2), "averaged")
    (folder / "notes.txt").write_text("weights")
    return folder


def run(*arguments: object) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(["import-published", *map(str, arguments)])
    return ended.value.code


def test_it_says_what_each_file_is_and_that_the_terms_are_the_users_to_check(checkpoints, tmp_path, capsys):
    assert run(checkpoints, "--out", tmp_path / "bundle") == 0
    said = capsys.readouterr().out
    assert "dice: segmentation network\n" in said
    assert "swa.pth: classifier ir-50\n" in said
    assert "notes.txt: left out" in said
    assert "out-of-fold use is unknown" in said
    assert "yours to check" in said
    assert len(load_bundle(tmp_path / "bundle").classification) == 1


def test_our_defaults(checkpoints, tmp_path):
    run(checkpoints, "--out", tmp_path / "author")
    run(checkpoints, "--out", tmp_path / "ours", "--our-defaults")
    settings = [load_bundle(tmp_path / name).settings["crops"]["min_voxels"] for name in ("author", "ours")]
    assert settings == [1, 512]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--fold", "dice"], "--fold dice is not NAME=N"),
        (["--fold", "dice=x"], "--fold dice=x is not NAME=N"),
        (["--fold", "=1"], "--fold =1 is not NAME=N"),
        (["--fold", "nowhere=0"], "--fold names nowhere"),
        (["--folds", "none.csv"], "none.csv cannot be read"),
    ],
)
def test_a_mistake_is_one_sentence_and_no_bundle(checkpoints, tmp_path, capsys, options, sentence):
    assert run(checkpoints, "--out", tmp_path / "bundle", *options) == 1
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith(f"error: {sentence}")
    assert "Traceback" not in said
    assert not (tmp_path / "bundle" / "bundle.json").exists()
