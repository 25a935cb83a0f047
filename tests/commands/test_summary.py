import json

import pytest

from spine_models.commands.summary import summary_of
from spine_models.errors import UserError
from tests.vouching import published

METRICS = {
    "phantom": True,
    "segmentation": {"dice_mean": 0.8125, "n_studies": 12},
    "classification": {"competition_loss": 0.25, "competition_loss_ci95": [0.2, 0.3], "prior_loss": 0.5},
    "quarantine": {"n": 1},
}


def test_the_summary_tells_the_figures_and_the_reports_path(tmp_path):
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "metrics.json").write_text(json.dumps(METRICS))
    published(tmp_path / "evaluation" / "metrics.json")
    text = summary_of(tmp_path)
    for expected in ("0.812", "0.2500 (95 % 0.2000 to 0.3000)", "0.5000", "phantoms, not patients"):
        assert expected in text
    assert text.endswith(str(tmp_path / "report" / "index.html"))


def test_a_run_that_is_not_evaluated_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"metrics\.json is missing"):
        summary_of(tmp_path)
