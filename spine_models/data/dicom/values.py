"""The values of raw DICOM elements, for files that nobody vouches for: absent, empty and nonsensical are told apart."""

from __future__ import annotations

import re
import warnings

from pydicom.dataset import Dataset

_TEXT = frozenset(("CS", "DS", "DT", "IS", "LO", "SH", "TM", "UI", "UN"))
_INTEGERS = {2: frozenset(("US", "SS", "UN")), 4: frozenset(("UL", "SL", "UN"))}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")


def raw_of(elements: Dataset, tag: int, kinds: frozenset[str]) -> bytes | None:
    """Return the raw bytes of an element, None if it is absent, empty or of another kind (VR) than ``kinds``."""
    try:
        element = elements.get_item(tag)
    except MemoryError:
        raise
    except Exception:  # pydicom converts some elements at once, and raises many kinds on damaged ones
        return None
    value = getattr(element, "value", None)
    if not isinstance(value, bytes) or not value or element is None:
        return None
    return value if element.VR is None or element.VR in kinds else None


def text_of(elements: Dataset, tag: int) -> str:
    """Return an element's text without padding, "" if it is absent.

    A byte is a character, whatever the character set: texts are compared, never shown, and other bytes stay other.
    """
    raw = raw_of(elements, tag, _TEXT)
    return "" if raw is None else raw.decode("latin-1").rstrip(" \0").lstrip(" ")


def numbers_of(elements: Dataset, tag: int) -> tuple[float, ...] | None:
    """Return the values of a decimal or integer string, None if it is absent, empty or not a number.

    Spaces, exponents, leading zeros and more than 16 characters are read; a decimal comma, a hexadecimal number, an
    infinity or "nan" is not a number (DICOM PS3.5 section 6.2).
    """
    text = text_of(elements, tag)
    if not text:
        return None
    parts = [part.strip(" ") for part in text.split("\\")]
    if not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    values = tuple(float(part) for part in parts)
    return values if all(abs(value) < 1e30 for value in values) else None


def number_of(elements: Dataset, tag: int) -> float | None:
    """Return the value of a decimal or integer string, None if it is absent, no number or several."""
    values = numbers_of(elements, tag)
    return values[0] if values is not None and len(values) == 1 else None


def vector_of(elements: Dataset, tag: int, length: int) -> tuple[float, ...] | None:
    """Return the values of a decimal string of exactly ``length`` numbers, None if it is absent or another."""
    values = numbers_of(elements, tag)
    return values if values is not None and len(values) == length else None


def words_of(elements: Dataset, tag: int) -> tuple[str, ...]:
    """Return the values of a text element in capitals, without empty ones; () if it is absent."""
    return tuple(part.strip().upper() for part in text_of(elements, tag).split("\\") if part.strip())


def integer_of(elements: Dataset, tag: int, little_endian: bool, signed: bool = False, size: int = 2) -> int | None:
    """Return the value of an integer element of ``size`` bytes, None if it is absent or holds several."""
    raw = raw_of(elements, tag, _INTEGERS[size])
    if raw is None or len(raw) != size:
        return None
    return int.from_bytes(raw, "little" if little_endian else "big", signed=signed)


def items_of(elements: Dataset, tag: int) -> list[Dataset]:
    """Return the items of a sequence, [] if it is absent or damaged."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return list(elements[tag].value or []) if tag in elements else []
    except MemoryError:
        raise
    except Exception:  # pydicom raises many kinds on damaged bytes
        return []
