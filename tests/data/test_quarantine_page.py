import re
from pathlib import Path

from spine_models.data.quarantine import RefusalCode

PAGE = Path(__file__).resolve().parents[2] / "docs" / "quarantine.md"


def test_every_code_and_no_other_is_on_the_page():
    listed = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), flags=re.MULTILINE)
    assert sorted(listed) == sorted(code.value for code in RefusalCode)
