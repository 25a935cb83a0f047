from __future__ import annotations

import re
from pathlib import Path

from spine_models.data.dataset.quarantine import RefusalCode, StudyRefused

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_every_code_is_documented_with_an_example_and_what_to_do() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", (DOCS / "quarantine.md").read_text(), re.MULTILINE)
    assert [code for code, _, _ in rows] == [code.value for code in RefusalCode]
    assert all(len(example) > 5 and len(advice) > 5 for _, example, advice in rows)


def test_codes_named_in_the_page_on_the_ingest_exist() -> None:
    text = (DOCS / "ingest.md").read_text()
    named = set(re.findall(r"refused, `(\w+)`", text))
    assert named
    assert named <= {code.value for code in RefusalCode}


def test_every_code_is_raised_somewhere() -> None:
    library = Path(__file__).resolve().parents[3] / "spine_models"
    text = "".join(path.read_text() for path in library.rglob("*.py") if "phantom" not in path.parts)
    for code in RefusalCode:
        assert f"RefusalCode.{code.name}" in text


def test_an_entry_holds_code_and_reason() -> None:
    refusal = StudyRefused(RefusalCode.NOT_AXIAL, "a sentence")
    assert refusal.as_entry() == {"code": "not_axial", "reason": "a sentence"}
    assert str(refusal) == "not_axial: a sentence"
