"""Overlays that stand for more than any configuration: one sentence, at once."""

import pytest

from spine_models.configuration.overlays import read_overlay
from spine_models.errors import UserError


def laughs(first: str, level: str) -> str:
    """Twelve lines, each of ten aliases of the one before: a million million values."""
    lines = [f"a0: &a0 {first}"]
    for number in range(1, 12):
        aliases = ", ".join(level.format(key, number - 1) for key in range(10))
        lines.append(f"a{number}: &a{number} {first[0]}{aliases}{first[-1]}")
    return "\n".join(lines)


BOMBS = {
    "lists of lists": laughs("[1, 2]", "*a{1}"),
    "groups of groups": laughs("{x: 1}", "k{0}: *a{1}"),
    "a list that holds itself": "a: &a [*a]",
    "a group that holds itself": "a: &a {b: *a}",
    "levels without end": "a: " + "[" * 100_000,
    "a number of ten thousand digits": "seed: " + "9" * 10_000,
    "a hundred thousand values": "a: [" + "1," * 100_001 + "1]",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_file_that_stands_for_more_than_a_configuration_is_a_sentence(tmp_path, bomb):
    path = tmp_path / "overlay.yaml"
    path.write_text(BOMBS[bomb])
    with pytest.raises(UserError, match=r"overlay.yaml") as error:
        read_overlay(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_aliases_of_an_honest_overlay_are_read(tmp_path):
    path = tmp_path / "overlay.yaml"
    path.write_text("a: &a {x: 1}\nb: *a\n")
    assert read_overlay(path) == {"a": {"x": 1}, "b": {"x": 1}}
