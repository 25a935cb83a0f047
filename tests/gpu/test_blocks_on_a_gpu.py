"""The blocks that judge themselves, on a real GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.gpu.blocks import ROWS, read_rows, run_blocks

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that this torch can use")


@pytest.mark.parametrize("block", ["versions", "numerics", "training", "ranks", "inference"])
def test_every_row_is_as_it_should_be(block: str, tmp_path: Path) -> None:
    status = run_blocks([block], tmp_path, "cuda")
    assert [row for row in read_rows(tmp_path / ROWS) if row.get("ok") is False] == []
    assert status == 0
