"""The runner of ``python -m benchmarks gpu``, on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.gpu import blocks
from benchmarks.gpu.blocks import BLOCKS, ROWS, Block, read_rows, run_blocks
from spine_models.errors import UserError

GOOD = "def measure(bench):\n    bench.row('a case', figure=1.23456, ok=True)\n"
BROKEN = "def measure(bench):\n    bench.row('before')\n    raise ValueError('no such thing')\n"
CASE = "def measure(bench):\n    with bench.case('1'):\n        raise ValueError('bad')\n    bench.row('2', ok=True)\n"
HANGS = "import time\ndef measure(bench):\n    bench.row('before')\n    time.sleep(600)\n"


@pytest.fixture
def probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "benchmarks" / "gpu"
    folder.mkdir(parents=True)
    for name, text in {"good": GOOD, "broken": BROKEN, "case": CASE, "hangs": HANGS}.items():
        (folder / f"probe_{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    limits = {"good": 120.0, "broken": 120.0, "case": 120.0, "hangs": 1.2}
    monkeypatch.setattr(blocks, "BLOCKS", [Block(f"probe_{name}", limit) for name, limit in limits.items()])
    return tmp_path / "out"


def rows(out: Path) -> list[tuple[str, str, object]]:
    return [(row["block"], row["case"], row.get("ok")) for row in read_rows(out / ROWS)]


def test_a_block_that_fails_costs_its_own_rows_alone(probes: Path) -> None:
    assert run_blocks(["probe_broken", "probe_case", "probe_good"], probes, "cpu") == 1
    assert rows(probes) == [
        ("probe_broken", "before", None),
        ("probe_broken", "block", False),
        ("probe_case", "1", False),
        ("probe_case", "2", True),
        ("probe_case", "block", True),
        ("probe_good", "a case", True),
        ("probe_good", "block", True),
    ]


def test_a_block_that_hangs_is_stopped_and_its_rows_are_kept(probes: Path) -> None:
    assert run_blocks(["probe_hangs"], probes, "cpu") == 1
    *kept, last = read_rows(probes / ROWS)
    assert last["why"] == "stopped after 12 s"
    assert [row["case"] for row in kept] in ([], ["before"])


def test_no_block_starts_when_the_time_is_over(probes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "TOTAL_SECONDS", 0.0)
    assert run_blocks([], probes, "cpu") == 1
    assert {row["why"] for row in read_rows(probes / ROWS)} == {"no time was left"}


def test_an_unknown_block_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no block nonsense: choose among versions"):
        run_blocks(["nonsense"], tmp_path, "cuda")


def test_a_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    (tmp_path / ROWS).write_text('{"block": "a", "case": "b"}\n{"block": "a", "ca')
    assert [dict(row) for row in read_rows(tmp_path / ROWS)] == [{"block": "a", "case": "b"}]


def test_every_block_has_its_module() -> None:
    folder = Path(blocks.__file__).parent
    assert all((folder / f"{block.name}.py").is_file() for block in BLOCKS)
