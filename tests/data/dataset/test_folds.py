from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spine_models.data.dataset.folds import FoldStudy, assign_folds, kept_folds, user_folds, write_folds
from spine_models.errors import UserError
from spine_models.provenance.sealed import read_sealed


def cohort(count: int, patients: int | None = None) -> list[FoldStudy]:
    """Studies of which every third has a fracture; several may be of one patient."""
    return [FoldStudy(f"1.2.{i}", f"p{i % (patients or count)}", int(i % 3 == 0)) for i in range(count)]


def test_folds_are_even_and_stratified() -> None:
    studies = cohort(400)
    folds = assign_folds(studies, 4, 7, {})
    assert set(Counter(folds.values()).values()) == {100}
    fractured = Counter(folds[study.study] for study in studies if study.stratum)
    assert max(fractured.values()) - min(fractured.values()) <= 1


@given(st.permutations(range(30)), st.integers(2, 6))
@settings(max_examples=30, deadline=None)
def test_row_order_is_no_matter_and_no_patient_crosses(order, parts) -> None:
    studies = cohort(30, patients=12)
    folds = assign_folds([studies[i] for i in order], parts, 3, {})
    assert folds == assign_folds(studies, parts, 3, {})
    of_patient = defaultdict(set)
    for study in studies:
        of_patient[study.group].add(folds[study.study])
    assert all(len(found) == 1 for found in of_patient.values())
    assert set(folds.values()) == set(range(parts))


def test_the_seed_decides() -> None:
    assert assign_folds(cohort(40), 4, 1, {}) != assign_folds(cohort(40), 4, 2, {})


def test_the_draw_is_the_same_in_every_release() -> None:
    folds = assign_folds(cohort(8), 3, 2022, {})
    assert "".join(str(folds[f"1.2.{i}"]) for i in range(8)) == PINNED


PINNED = "12000221"


def test_earlier_assignments_are_kept_and_new_studies_appended(tmp_path: Path) -> None:
    first = kept_folds(cohort(20), 4, 5, tmp_path / "c.json")
    later = kept_folds(cohort(43), 4, 5, tmp_path / "c.json")
    assert {study: later[study] for study in first} == first
    assert max(Counter(later.values()).values()) - min(Counter(later.values()).values()) <= 1
    assert kept_folds(cohort(20), 4, 5, tmp_path / "c.json") == first


@pytest.mark.parametrize("seed", range(4))
def test_an_earlier_fold_is_kept_whatever_would_be_drawn(seed) -> None:
    studies = cohort(12, patients=6)
    drawn = assign_folds(studies, 2, seed, {})
    other = {study: 1 - fold for study, fold in drawn.items()}
    assert assign_folds(studies, 2, seed, other) == other


@pytest.mark.parametrize("seed", range(8))
def test_the_largest_patient_goes_first_and_the_others_fill_up(seed) -> None:
    studies = [*(FoldStudy(f"1.{i}", "large") for i in range(4)), *(FoldStudy(f"2.{i}", f"p{i}") for i in range(4))]
    assert sorted(Counter(assign_folds(studies, 2, seed, {}).values()).values()) == [4, 4]


@pytest.mark.parametrize("seed", range(8))
def test_patients_with_a_fold_come_before_larger_ones_without(seed) -> None:
    studies = [FoldStudy("1.1", "old"), FoldStudy("1.2", "new"), FoldStudy("1.3", "new")]
    assert assign_folds(studies, 2, seed, {"1.1": 0}) == {"1.1": 0, "1.2": 1, "1.3": 1}
    both = [FoldStudy("0.1", "new"), FoldStudy("1.1", "old"), FoldStudy("1.2", "old")]
    assert assign_folds(both, 2, seed, {"1.1": 0}) == {"0.1": 1, "1.1": 0, "1.2": 0}


@pytest.mark.parametrize("seed", range(4))
def test_a_patient_goes_where_most_of_its_strata_are_rare(seed) -> None:
    """Three fractured studies meet none in fold 0 and one in fold 1; the healthy one would rather go to fold 1."""
    earlier = {"0.1": 0, "0.2": 0, "1.1": 1}
    known = [FoldStudy("0.1", "a"), FoldStudy("0.2", "b"), FoldStudy("1.1", "c", 1)]
    new = [FoldStudy("9.1", "new"), *(FoldStudy(f"9.{i}", "new", 1) for i in (2, 3, 4))]
    folds = assign_folds([*known, *new], 2, seed, earlier)
    assert {folds[study.study] for study in new} == {0}


def test_the_seed_decides_what_is_kept_too_and_the_file_is_found_by_every_release(tmp_path: Path) -> None:
    assert kept_folds(cohort(40), 4, 5, tmp_path / "c.json") == assign_folds(cohort(40), 4, 5, {})
    assert [path.name for path in tmp_path.iterdir()] == ["c-0d3ab6bbec93.json"]


def test_studies_that_are_gone_for_now_come_back_to_their_fold(tmp_path: Path) -> None:
    first = kept_folds(cohort(20), 4, 5, tmp_path / "c.json")
    kept_folds(cohort(20)[5:], 4, 5, tmp_path / "c.json")
    assert kept_folds(cohort(20), 4, 5, tmp_path / "c.json") == first


def test_another_number_of_parts_draws_anew_and_the_earlier_draw_is_found_again(tmp_path: Path) -> None:
    first = kept_folds(cohort(20), 4, 5, tmp_path / "c.json")
    assert set(kept_folds(cohort(20), 5, 5, tmp_path / "c.json").values()) == set(range(5))
    assert kept_folds(cohort(20), 4, 5, tmp_path / "c.json") == first


def test_a_state_of_an_early_release_which_has_no_seal_is_read_and_sealed(tmp_path: Path) -> None:
    state = tmp_path / "c-0d3ab6bbec93.json"
    other = {study: (fold + 1) % 4 for study, fold in assign_folds(cohort(12), 4, 5, {}).items()}
    state.write_text(json.dumps(other))
    assert kept_folds(cohort(12), 4, 5, tmp_path / "c.json") == other
    assert read_sealed(state) == {"folds": other}


@pytest.mark.parametrize("damage", [lambda text: text.replace(": 0", ": 1", 1), lambda text: text[:-5]])
def test_a_damaged_state_is_a_sentence_with_what_to_do(tmp_path: Path, damage) -> None:
    kept_folds(cohort(12), 4, 5, tmp_path / "c.json")
    state = tmp_path / "c-0d3ab6bbec93.json"
    assert damage(state.read_text()) != state.read_text()
    state.write_text(damage(state.read_text()))
    sentence = (
        f"{state} is damaged: restore it from a copy, or run `rm {state}` and the same command again, which draws "
        "these folds anew"
    )
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        kept_folds(cohort(12), 4, 5, tmp_path / "c.json")


def test_a_new_study_of_a_known_patient_joins_its_fold() -> None:
    earlier = {"1.2.0": 3}
    folds = assign_folds([*cohort(12), FoldStudy("1.9", "p0", 0)], 4, 5, earlier)
    assert folds["1.2.0"] == folds["1.9"] == 3


def test_a_patient_that_was_split_earlier_is_an_error() -> None:
    studies = [FoldStudy("1.1", "a"), FoldStudy("1.2", "a"), FoldStudy("1.3", "b")]
    sentence = (
        "the studies 1.1, 1.2 are of one patient but were put into different folds earlier: remove the folder "
        "state/folds, which draws all folds anew"
    )
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        assign_folds(studies, 2, 1, {"1.1": 0, "1.2": 1})


def test_too_few_patients_is_an_error() -> None:
    sentence = (
        "2 patients cannot be split into 3 folds: use fewer folds or more studies (studies with the same PatientID "
        "count as one patient's)"
    )
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        assign_folds(cohort(9, patients=2), 3, 1, {})


def test_a_users_folds_are_checked() -> None:
    studies = [FoldStudy("1.1", "a"), FoldStudy("1.2", "a"), FoldStudy("1.3", "b")]
    path = Path("mine.csv")
    assert user_folds(studies, {"1.1": 1, "1.2": 1, "1.3": 0, "1.9": 0}, path) == {"1.1": 1, "1.2": 1, "1.3": 0}
    with pytest.raises(UserError, match=r"does not name study 1\.3"):
        user_folds(studies, {"1.1": 1, "1.2": 1}, path)
    with pytest.raises(UserError, match=r"puts 1\.1 and 1\.2, of one patient, into different folds"):
        user_folds(studies, {"1.1": 1, "1.2": 0, "1.3": 0}, path)


def test_the_table(tmp_path: Path) -> None:
    studies = cohort(3)
    write_folds(tmp_path / "f.csv", reversed(studies), {"1.2.0": 0, "1.2.1": 1, "1.2.2": 0})
    assert (tmp_path / "f.csv").read_text() == "StudyInstanceUID,group,fold\n1.2.0,p0,0\n1.2.1,p1,1\n1.2.2,p2,0\n"
