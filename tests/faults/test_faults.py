"""What decides beside the arrays is damaged, and jobs die: nothing wrong passes for right, and the advice works."""

import pytest

from tests.faults import surroundings
from tests.faults.campaign import Campaign
from tests.faults.corruptions import DAMAGES, KINDS, Fault, faults
from tests.faults.interruptions import Interruption, interruptions
from tests.faults.recovery import OUTPUTS
from tests.workflow import warm
from tests.workflow.finished_run import make_run

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults")]
KIND = {kind.name: kind for kind in KINDS}


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    with warm.environment(folder) as environment:
        yield Campaign(make_run(folder / "finished", environment, new_studies=3), folder / "copy", environment)


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        ("record of a half-size volume", "value"),
        ("record of a mask", "value"),
        ("classifier in the bundle", "flip"),
        ("out-of-fold table", "value"),
        ("record of an out-of-fold table", "value"),
        ("averaging", "value"),
        ("list of epochs", "value"),
        ("metrics", "value"),
        ("folds of the classifiers", "cut at a line"),
        ("history", "cut at a line"),
        ("record of a prediction", "value"),
        ("predicted mask", "flip"),
    ],
)
def test_what_is_damaged_is_told_and_repaired_by_the_command_in_the_sentence(campaign, kind, damage):
    end = campaign.end_of(Fault(KIND[kind], damage, 1))
    assert end.right, end
    assert end.how == "repaired as the sentence says"


@pytest.mark.parametrize("kind", ["judgement of an average", "out-of-fold record of a study", "finished training"])
def test_what_one_job_alone_keeps_is_made_anew(campaign, kind):
    end = campaign.end_of(Fault(KIND[kind], "value", 1))
    assert (end.how, end.right) == ("made anew", True), end


@pytest.mark.parametrize(
    ("rule", "what", "how"),
    [
        ("convert_volumes", "fsync ENOSPC 1+ *results/volumes*", "one sentence; then complete"),
        ("convert_labels", "flock ENOLCK 1+ *results/labels_half*", "one sentence; then complete"),
        ("make_crops", "rename SIGKILL 2 *results/crops*", "died; then complete"),
        ("evaluate", "open EMFILE 1 *results/folds*", "one sentence; then complete"),
        ("average_checkpoints", "memory 4", "one sentence; then complete"),
    ],
)
def test_what_fails_in_a_job_is_one_sentence_and_the_next_run_is_complete(campaign, rule, what, how):
    end = campaign.end_of(Interruption("", rule, what))
    assert (end.how, end.right) == (how, True), end


@pytest.mark.parametrize(
    ("kind", "rule", "amount"),
    [
        ("disk too small", "convert_volumes", 64),
        ("clock set back", "convert_volumes", 1.0),
        ("two directories at once", "collect_quarantine", 1.25),
        ("a file changes", "convert_volumes", 1.9),
        ("a file changes", "average_checkpoints", 1.8),
    ],
)
def test_what_happens_around_the_jobs_loses_nothing(campaign, kind, rule, amount):
    if kind == "disk too small" and not surroundings.can_mount():
        pytest.skip("this user may not mount a file system in memory")
    end = campaign.end_of(surroundings.Surrounding(kind, rule, amount))
    assert end.right, end


def test_a_campaign_takes_every_kind_of_file_and_every_rule_in_turn():
    assert {fault.kind for fault in faults(len(KINDS), 0)} == set(KINDS)
    assert {fault.rule for fault in interruptions(len(OUTPUTS), 0)} == set(OUTPUTS)
    assert set(OUTPUTS) >= {kind.reader for kind in KINDS}
    assert {fault.damage for fault in faults(400, 0)} == set(DAMAGES)
