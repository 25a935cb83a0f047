from __future__ import annotations

import pytest

from spine_models.errors import UserError
from spine_models.training.folds import read_split
from tests.vouching import published


def table(tmp_path, *rows):
    path = tmp_path / "folds.csv"
    path.write_text("\n".join(["StudyInstanceUID,group,fold", *rows]) + "\n")
    return published(path)


def test_the_fold_is_held_out_and_unknown_studies_are_left_out(tmp_path):
    path = table(tmp_path, "1.1,a,0", "1.2,b,1", "1.3,c,1", "1.4,d,0")
    split = read_split(path, 0, {"1.1", "1.2", "1.3"})
    assert split.validation == ("1.1",) and split.training == ("1.2", "1.3")
    assert split.subjects == ("1.2", "1.3", "b", "c")


@pytest.mark.parametrize(
    ("rows", "word"), [(("1.1,a,0", "1.2,a,1"), "patient group a"), (("1.1,a,0", "1.1,b,1"), "study 1.1")]
)
def test_nobody_trains_and_validates(tmp_path, rows, word):
    with pytest.raises(UserError, match=word):
        read_split(table(tmp_path, *rows), 0, {"1.1", "1.2"})


@pytest.mark.parametrize("fold", [1, 7])
def test_an_empty_side_is_refused(tmp_path, fold):
    with pytest.raises(UserError, match=f"fold {fold} .* studies to train on"):
        read_split(table(tmp_path, "1.1,a,1"), fold, {"1.1"})
