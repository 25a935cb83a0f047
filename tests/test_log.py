"""What is written for people: no character of it commands a terminal."""

import pytest

from spine_models.errors import UserError, told
from spine_models.log import say, show, visible

HOSTILE = {
    "\x1b[2J": r"\x1b[2J",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x9b31m": r"\x9b31m",
    "a\rb": r"a\rb",
    "a\bb": r"a\x08b",
    "a\x7f": r"a\x7f",
    "\u202egpj.exe": r"\u202egpj.exe",
    "\u2066x\u2069": r"\u2066x\u2069",
    "\u200b\u200f": r"\u200b\u200f",
    "\u2028": r"\u2028",
    "\ufeff": r"\ufeff",
    "\udcff": r"\udcff",
    "\U000e0041": r"\U000e0041",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_unseen_or_moves_what_is_seen_is_written_as_an_escape(text, capsys):
    assert visible(text) == HOSTILE[text]
    say(f"a study called {text}")
    show(text)
    assert capsys.readouterr() == (f"{HOSTILE[text]}\n", f"a study called {HOSTILE[text]}\n")


@pytest.mark.parametrize("text", ["Wirbelsäule 1.25 mm", "頸椎", "шея", "é", "a\tb\nc", "≤ 3 µm – \\x1b"])
def test_what_people_read_stays(text):
    assert visible(text) == text


def test_an_error_is_one_line():
    assert told(UserError("a.csv\nerror: all is well\x1b[1A")) == r"error: a.csv\nerror: all is well\x1b[1A"


def test_every_character_of_the_control_blocks_is_written_as_an_escape():
    controls = [chr(code) for code in [*range(32), *range(127, 160)] if chr(code) not in "\n\t"]
    assert all(visible(control).startswith("\\") for control in controls)
    assert visible("".join(map(chr, range(32, 127)))) == "".join(map(chr, range(32, 127)))
