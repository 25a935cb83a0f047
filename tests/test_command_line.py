import sys

import pytest

from spine_models.command_line import run_stage
from spine_models.errors import UserError


def test_a_script_says_what_starts_where_and_ends_with_its_sentence(capsys, monkeypatch):
    def main():
        raise UserError("crops.depth is 0: it has to be at least 1")

    monkeypatch.setattr(sys, "argv", ["/somewhere/make_crops.py"])
    with pytest.raises(SystemExit) as end:
        run_stage(main)
    assert end.value.code == 1
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("make_crops starts on ")
    assert last == "error: crops.depth is 0: it has to be at least 1"
