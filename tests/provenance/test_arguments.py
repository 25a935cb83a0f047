from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from spine_models.provenance.arguments import add_inputs, inputs_from, stage_parser


def test_keys_that_only_decide_how_a_job_runs_join_the_configuration():
    arguments = ["--config", '{"a":{"x":1},"seed":3}', "--set", "a.workers=2", "device=auto", "minutes=0.5"]
    config = stage_parser("").parse_args(arguments).config
    assert config == {"a": {"x": 1, "workers": 2}, "seed": 3, "device": "auto", "minutes": 0.5}


def test_a_parser_forgets_what_an_earlier_call_set():
    parser = stage_parser("")
    parser.parse_args(["--set", "device=cpu"])
    assert parser.parse_args([]).config == {}


@pytest.mark.parametrize("arguments", [["--config", "[1]"], ["--set", "device"]])
def test_malformed_arguments_are_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        stage_parser("").parse_args(arguments)
    assert "expected" in capsys.readouterr().err


@dataclass(frozen=True)
class Files:
    train_csv: Path
    crops: Sequence[Path]
    pretrained: Path | None
    masks: Sequence[Path] = ()


def test_a_stages_files_are_the_options_of_its_script():
    parser = stage_parser("x")
    add_inputs(parser, Files)
    args = parser.parse_args(["--train-csv", "a b.csv", "--crops", "0.json", "1.json"])
    assert inputs_from(Files, args) == Files(Path("a b.csv"), [Path("0.json"), Path("1.json")], None)
    args = parser.parse_args(["--train-csv", "t", "--crops", "0", "--pretrained", "w", "--masks", "m"])
    assert inputs_from(Files, args) == Files(Path("t"), [Path("0")], Path("w"), [Path("m")])


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["--crops", "0"], "required: --train-csv"),
        (["--train-csv", "t"], "required: --crops"),
        (["--train-csv", "t", "--crops"], "--crops: expected at least one"),
    ],
)
def test_a_missing_file_is_named(words, missing, capsys):
    parser = stage_parser("x")
    add_inputs(parser, Files)
    with pytest.raises(SystemExit):
        parser.parse_args(words)
    assert missing in capsys.readouterr().err
