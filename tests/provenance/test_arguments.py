import pytest

from spine_models.provenance.arguments import stage_parser


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
