"""What the processes of a job tell each other in every step."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import distributed
from torch.testing._internal.distributed.fake_pg import FakeStore

from spine_models.training.stage_module import StageModule


@pytest.fixture
def reductions(monkeypatch):
    """Processes that do not exist, and the values that were reduced over them."""
    distributed.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    found = []
    monkeypatch.setattr(distributed, "all_reduce", lambda flags, op: found.append(flags.tolist()))
    yield found
    distributed.destroy_process_group()


@pytest.mark.parametrize("bad", [False, True])
@pytest.mark.parametrize("due", [False, True])
def test_one_reduction_tells_of_a_bad_step_and_of_a_state_that_is_due(reductions, monkeypatch, bad, due):
    for name in ("broadcast_object_list", "all_gather_object", "broadcast"):
        monkeypatch.setattr(distributed, name, None)
    module = SimpleNamespace(asks_for_state=lambda: due, state_is_due=None)
    assert StageModule._agree(module, torch.tensor(bad)) is bad
    assert module.state_is_due is due
    assert reductions == [[float(bad), float(due)]]


def test_rank_0_alone_says_when(reductions, monkeypatch):
    monkeypatch.setattr(distributed, "get_rank", lambda: 1)
    module = SimpleNamespace(asks_for_state=lambda: True, state_is_due=None)
    assert StageModule._agree(module, torch.tensor(False)) is False
    assert module.state_is_due is False
