from __future__ import annotations

import pytest

from spine_models.errors import UserError
from spine_models.training.batching import plan_batches


@pytest.mark.parametrize(("processes", "accumulation"), [(1, 4), (2, 2), (4, 1)])
def test_the_global_batch_is_the_same_on_any_number_of_gpus(processes, accumulation):
    plan = plan_batches("segmentation", 16, 4, processes)
    assert plan.accumulation == accumulation
    assert plan.global_batch == 16
    assert plan.statistics_batch == 4 * processes


@pytest.mark.parametrize(("whole", "micro", "processes"), [(16, 4, 3), (16, 5, 1), (4, 8, 1), (16, 0, 1), (0, 1, 1)])
def test_an_impossible_combination_names_its_keys(whole, micro, processes):
    with pytest.raises(UserError, match=rf"classification.training.global_batch {whole} .*micro_batch {micro}"):
        plan_batches("classification", whole, micro, processes)
