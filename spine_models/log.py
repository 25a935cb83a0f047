"""Lines for people, in a log or at a terminal; what came from a file cannot command the terminal."""

from __future__ import annotations

import sys
import unicodedata

_HARMLESS = "\n\t"
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Categories of Unicode: control characters, formats (among them what turns the direction of text), halves of pairs,
characters that mean nothing, separators of lines and paragraphs."""


def visible(text: str) -> str:
    """Return ``text`` with an escape, as Python writes it, for each character that is unseen or moves what is seen.

    Line breaks and tabs stay.
    """
    if text.translate(dict.fromkeys(map(ord, _HARMLESS))).isprintable():
        return text
    return "".join(character if _is_seen(character) else ascii(character)[1:-1] for character in text)


def say(line: str) -> None:
    """Write ``line`` to the log, which is the standard error of every job.

    A statement that calls this function by its name is not part of a fingerprint.
    """
    sys.stderr.write(f"{visible(line)}\n")


def show(text: str) -> None:
    """Write the answer of a command to standard output."""
    sys.stdout.write(f"{visible(text)}\n")


def _is_seen(character: str) -> bool:
    return character in _HARMLESS or unicodedata.category(character) not in _UNSEEN
