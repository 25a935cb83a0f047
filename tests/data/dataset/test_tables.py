from __future__ import annotations

import tracemalloc

import pytest

from spine_models.data.dataset.tables import read_boxes, read_folds, read_solution_folds, read_test, read_train
from spine_models.errors import UserError
from spine_models.evaluation.truth import read_truth

HEADER = "StudyInstanceUID,patient_overall,C1,C2,C3,C4,C5,C6,C7"
REST = ("C1", "C3", "C4", "C5", "C6", "C7")
GOOD = f"{HEADER}\n1.2.3,1,0,1,0,0,0,0,0\n1.2.4,0,0,0,0,0,0,0,0\n"


def train(tmp_path, text: str | bytes):
    path = tmp_path / "train.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_train(path)


def sentence(read, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        read(*arguments)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD.replace("1.2.4", "9" * 20_000_000), "line 3 cannot be read as a row of a table (field larger than"),
        (GOOD.replace("1.2.4", "9" * 100_000), "line 3: StudyInstanceUID is '999"),
        (f"{HEADER}{',x' * 1_000_000}\n1.2.3,1,0,1,0,0,0,0,0{',1' * 1_000_000}\n", "has 1000009 columns, and 1000"),
        (GOOD.replace("1.2.4", "1.2\0.4"), "it holds NUL characters"),
        (GOOD.encode("utf-16-le").decode("latin-1"), "it holds NUL characters"),
        ("\0" * 1_000_000, "it holds NUL characters"),
        ("," * 2_000_000, "lacks the columns StudyInstanceUID, patient_overall"),
        ('"' * 10_000_001, "cannot be read as a row of a table"),
    ],
    ids=["20 MB in a cell", "a long id", "a million columns", "NUL", "UTF-16", "zeros", "commas", "quotes"],
)
def test_what_no_table_holds_is_a_short_sentence(tmp_path, text, expected) -> None:
    tracemalloc.start()
    try:
        found = sentence(train, tmp_path, text)
        assert tracemalloc.get_traced_memory()[1] < 1 << 30
    finally:
        tracemalloc.stop()
    assert expected in found
    assert len(found) < 600


def test_values_and_order(tmp_path) -> None:
    table = train(tmp_path, GOOD)
    assert table["StudyInstanceUID"].tolist() == ["1.2.3", "1.2.4"]
    assert table["C2"].tolist() == [1, 0]
    assert table.index.tolist() == [0, 1]


@pytest.mark.parametrize(
    "spelling",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("\n", "\r\n").encode(),
        GOOD.replace(",", " , ").encode(),
        GOOD.encode() + b"\n\n,,,,,,,,\n",
        GOOD.replace("C7\n", "C7,comment\n").replace(",0\n", ",0,x\n").encode(),
        GOOD.replace("1.2.3", '"1.2.3"').encode(),
        GOOD.replace(",0,1,", ",0.0,1.0,").encode(),
        GOOD.replace(",", ";").encode(),
        GOOD.replace(",", "\t").encode(),
        b"sep=;\n" + GOOD.replace(",", ";").encode(),
        GOOD.replace(",0\n", ",0,,\n").encode(),
        GOOD.replace("\n", ",\n").encode(),
        ("," + GOOD.strip().replace("\n", "\n7,") + "\n").encode(),
    ],
)
def test_spellings_of_the_same_table(tmp_path, spelling) -> None:
    assert train(tmp_path, spelling).equals(train(tmp_path, GOOD))


def test_later_stages_read_the_same_table(tmp_path) -> None:
    """A table that the ingest accepts must not stop the training hours later."""
    path = tmp_path / "train.csv"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace(",", " , ").replace("\n", "\r\n").encode() + b",,,,,,,,\r\n")
    truth = read_truth(path)
    assert truth.loc["1.2.3"].tolist() == [1, 0, 1, 0, 0, 0, 0, 0]
    assert truth.index.tolist() == ["1.2.3", "1.2.4"]


@pytest.mark.parametrize(
    ("wrong", "right", "expected"),
    [
        ("1.2.4,0,0", "1.2.4,0,2", "line 3: C1 is '2', it must be 0 or 1"),
        ("1.2.4,0,0", "1.2.4,0,", "line 3: C1 is '', it must be 0 or 1"),
        ("1.2.4,0,0", "1.2.4,0,yes", "line 3: C1 is 'yes'"),
        ("1.2.4,0", "1.2.4,1", "line 3: patient_overall is 1, but the largest of C1 to C7 is 0"),
        ("1.2.3,1", "1.2.3,0", "line 2: patient_overall is 0, but the largest of C1 to C7 is 1"),
        ("1.2.4", "1.2.3", "line 3: StudyInstanceUID 1.2.3 occurs a second time"),
        ("1.2.4", "Jane Doe", "line 3: StudyInstanceUID is 'Jane Doe', it must be a UID"),
        (",C3", ",C33", "lacks the column C3"),
        ("1.2.4,0,0,0", "1.2.4,0,0,0,0,0,0,0,0", "line 3 has 14 fields, the header has 9"),
        ("1.2.3,1,0", "1.2.3,1,0,0", "line 2 has 10 fields, the header has 9"),
        ("1.2.3,1,0,1,0", "1.2.3,1,0,1", "line 2 has 8 fields, the header has 9"),
        (
            "1.2.3,1,0,1,0,0,0,0,0",
            "1.2.3" + ",1,0" * 8,
            "line 2 has 17 fields, the header has 9: correct it; a decimal",
        ),
        ("C7\n1.2.3,1,0", "C7,,\n1.2.3,1,0,0,1", "line 2 has 11 fields, the header has 9"),
        (",C3", ",C3,C3", "has the column C3 twice"),
        ("1.2.4,0", '1.2.4,"0', "line 3 cannot be read as a row"),
    ],
)
def test_each_mistake_is_named_with_its_line(tmp_path, wrong, right, expected) -> None:
    assert wrong in GOOD
    assert expected in sentence(train, tmp_path, GOOD.replace(wrong, right))


def test_a_decimal_comma_between_semicolons_is_named(tmp_path) -> None:
    text = GOOD.replace(",", ";").replace("1.2.4;0", "1.2.4;0,0")
    assert "line 3: patient_overall is '0,0', it must be 0 or 1" in sentence(train, tmp_path, text)


def test_a_table_with_two_delimiters_is_refused(tmp_path) -> None:
    text = GOOD.replace("1.2.4,0", "1.2.4;0")
    assert "line 3 has 8 fields" in sentence(train, tmp_path, text)


def test_blank_lines_do_not_shift_the_line_that_is_named(tmp_path) -> None:
    text = GOOD.replace("1.2.3,", "\n\n1.2.3,").replace("1.2.4,0,0", "1.2.4,0,7")
    assert "line 5: C1 is '7'" in sentence(train, tmp_path, text)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x01", b"\x00\x00"])
def test_files_that_are_no_tables(tmp_path, content) -> None:
    assert "train.csv" in sentence(train, tmp_path, content)


def test_a_missing_table(tmp_path) -> None:
    assert "none.csv cannot be read" in sentence(read_train, tmp_path / "none.csv")


def test_boxes(tmp_path) -> None:
    path = tmp_path / "boxes.csv"
    good = "StudyInstanceUID,x,y,width,height,slice_number\n1.2.3,219.3,216.7,17.3,13.6,133\n"
    path.write_text(good)
    assert read_boxes(path, {"1.2.3"})["width"].tolist() == [17.3]
    assert "line 2: study 1.2.3 is not in train.csv" in sentence(read_boxes, path, {"1.2.9"})
    path.write_text(good.replace("17.3", "-17.3"))
    assert "line 2: width is '-17.3', it must be a number above 0" in sentence(read_boxes, path, {"1.2.3"})
    for wrong in ("nan", "1_5", "219;3", "0x10", ""):
        path.write_text(good.replace("219.3", wrong))
        assert f"line 2: x is '{wrong}', it must be a number" in sentence(read_boxes, path, {"1.2.3"})


def test_test_table(tmp_path) -> None:
    path = tmp_path / "test.csv"
    good = "row_id,StudyInstanceUID,prediction_type\n1.2_C1,1.2,C1\n1.2_patient_overall,1.2,patient_overall\n"
    path.write_text(good)
    assert read_test(path)["row_id"].tolist() == ["1.2_C1", "1.2_patient_overall"]
    path.write_text(good.replace("1.2,C1", "1.2,C8"))
    assert "line 2: prediction_type is 'C8'" in sentence(read_test, path)
    path.write_text(good.replace("1.2_C1", "1.2-C1"))
    assert "line 2: row_id is not 1.2_C1" in sentence(read_test, path)
    path.write_text(good + "1.2_C1,1.2,C1\n")
    assert "line 4: row_id 1.2_C1 occurs a second time" in sentence(read_test, path)


def test_folds_table(tmp_path) -> None:
    path = tmp_path / "folds.csv"
    path.write_text("fold,StudyInstanceUID\n0,1.2\n1,1.3\n")
    assert read_folds(path, 2) == {"1.2": 0, "1.3": 1}
    assert "line 3: fold is '1', it must be a whole number from 0 to 0" in sentence(read_folds, path, 1)


def test_a_fold_table_of_the_published_solution(tmp_path):
    path = tmp_path / "folds.csv"
    path.write_text("id,cube_id,fold\n0,1.2,0\n1,1.30,3.0\n")
    table = read_solution_folds(path)
    assert table["fold"].to_dict() == {"1.2": 0, "1.30": 3}
    assert list(table.columns) == ["fold"]


def test_its_targets_are_read_where_it_has_them(tmp_path):
    path = tmp_path / "folds.csv"
    path.write_text("cube_id,fold,C1,C2,C3,C4,C5,C6,C7\n1.2,0,0,1,0,0,0,0,0\n1.3,1,0,0,0,0,0,0,0\n")
    table = read_solution_folds(path)
    assert table.loc["1.2"].to_dict() == {"fold": 0, "patient_overall": 1, "C2": 1, **dict.fromkeys(REST, 0)}
    assert table.loc["1.3", "patient_overall"] == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("study,fold\n1.2,0\n", "lacks the column cube_id: it must have cube_id, fold"),
        ("cube_id,fold\n1.2,x\n", "line 2: fold is 'x', it must be a whole number, at least 0"),
        ("cube_id,fold\n1.2,0.5\n", "line 2: fold is '0.5'"),
        ("cube_id,fold\n../1,0\n", "line 2: cube_id is '../1', it must be a UID"),
        ("cube_id,fold\n1.2,0\n1.2,1\n", "cube_id 1.2 occurs a second time"),
        ("cube_id,fold,C1,C2,C3,C4,C5,C6,C7\n1.2,0,0,2,0,0,0,0,0\n", "line 2: C2 is '2', it must be 0 or 1"),
    ],
)
def test_a_fold_table_that_cannot_be_used_is_a_sentence(tmp_path, text, expected):
    path = tmp_path / "folds.csv"
    path.write_text(text)
    assert expected in sentence(read_solution_folds, path)
