from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmarks.tiny_training import classification_task
from spine_models.errors import UserError
from spine_models.evaluation.segmentation_figures import SegmentationFigures
from spine_models.training.batching import plan_batches
from spine_models.training.best_epochs import BestEpochs
from spine_models.training.classification_module import ClassifierVerdict

METRICS = (0.5, 0.3, 0.4, 0.3, 0.2)


@pytest.fixture
def module(data):
    task = classification_task(data)
    return task.module(plan_batches("classification", 4, 2, 1), 6)


def play(best: BestEpochs, module, metrics, larger=False):
    module.larger_is_better = larger
    for epoch, metric in enumerate(metrics):
        module.verdict = ClassifierVerdict(metric, 3)
        best.on_train_epoch_end(SimpleNamespace(current_epoch=epoch, is_global_zero=True), module)
        best.prune(())
    return [epoch.row.epoch for epoch in best.best]


def test_the_best_are_kept_and_no_more(module, tmp_path):
    best = BestEpochs(tmp_path, 3, {}, ClassifierVerdict)
    # Epochs 1 and 3 are equal: the earlier one is better.
    assert play(best, module, METRICS) == [4, 1, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"epoch-{n:03d}.safetensors" for n in (1, 3, 4)]


def test_the_direction_is_the_metrics(module, tmp_path):
    assert play(BestEpochs(tmp_path, 2, {}, ClassifierVerdict), module, METRICS, larger=True) == [0, 2]


def test_the_list_survives_in_the_state(module, tmp_path):
    best = BestEpochs(tmp_path, 3, {}, ClassifierVerdict)
    play(best, module, METRICS)
    again = BestEpochs(tmp_path, 3, {}, ClassifierVerdict)
    again.load_state_dict(best.state_dict())
    assert again.best == best.best


def test_files_that_the_state_names_are_not_pruned(module, tmp_path):
    best = BestEpochs(tmp_path, 1, {}, ClassifierVerdict)
    play(best, module, METRICS[:1])
    module.verdict = ClassifierVerdict(0.1, 3)
    best.on_train_epoch_end(SimpleNamespace(current_epoch=1, is_global_zero=True), module)
    best.prune({"epoch-000.safetensors"})
    assert len(list(tmp_path.iterdir())) == 2


def test_a_fold_without_anything_to_judge_by_is_refused(module, tmp_path):
    best = BestEpochs(tmp_path, 2, {}, SegmentationFigures)
    for verdict in (None, SegmentationFigures(None, {}, 0, {})):
        module.verdict = verdict
        with pytest.raises(UserError, match="no held-out study has anything to judge competition_loss by"):
            best.on_train_epoch_end(SimpleNamespace(current_epoch=0, is_global_zero=True), module)
