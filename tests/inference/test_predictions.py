"""Tables of a prediction: every study and every row is answered."""

import csv
from dataclasses import replace

import pytest

from benchmarks.tiny_data import volume_facts
from spine_models.data.volume_facts import SeriesFacts
from spine_models.errors import UserError
from spine_models.evaluation import operating_points as points_module
from spine_models.evaluation.operating_points import OperatingPoint, OperatingPoints
from spine_models.inference.prediction_facts import PredictionFacts
from spine_models.inference.predictions import (
    PREDICTION_TYPES,
    MaskMakers,
    PredictedStudy,
    collect,
    mark,
    write_predictions,
    write_submission,
)
from spine_models.inference.view_data import Places
from spine_models.levels import LEVELS, TARGETS
from spine_models.provenance.keys import Key
from spine_models.provenance.manifest import write_manifest
from spine_models.provenance.records import write_record

PRIOR = dict.fromkeys(TARGETS, 0.05)


def _facts(value, source="crops", folder_uid=None):
    return PredictionFacts(
        probabilities=dict.fromkeys(TARGETS, value),
        models={},
        source=source,
        levels=dict.fromkeys(LEVELS, "visible") | {"C7": "missing"},
        voxels={},
        notes=("not visible: C7",),
        volume=replace(volume_facts(), series=(_series(2, 87, ""), _series(1, 12, "thicker slices"))),
        places=Places({}, {}, (0.0, 0.0, 1.0, 0.0), 1, 8),
        folder_uid=folder_uid,
    )


def _series(number, slices, why_not):
    return SeriesFacts(f"1.2.{number}", number, "B60", 1.0, slices, why_not)


@pytest.fixture
def manifests(tmp_path):
    """Two shards: 1.2 (folder 9.9), 1.3 without a vertebra; 1.1 and a refused folder."""
    key = Key("predict_studies", {}, {}, "code")

    def digest(name, facts):
        return write_record(tmp_path / name, key, {}, facts.to_json()).digest

    first = {
        "1.2": digest("0/1.2.json", _facts(0.7, folder_uid="9.9")),
        "1.3": digest("0/1.3.json", _facts(0.05, source="prior")),
    }
    refused = {"4.4": {"code": "no_ct", "reason": "no CT slice"}}
    write_manifest(tmp_path / "0.json", first, {})
    write_manifest(tmp_path / "1.json", {"1.1": digest("1/1.1.json", _facts(1 / 3))}, refused)
    return [tmp_path / "1.json", tmp_path / "0.json"]


def _read(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_without_a_table_every_study_is_answered(manifests, tmp_path):
    studies = collect(manifests, PRIOR, None)
    assert [(row.study, row.status) for row in studies] == [
        ("1.1", "predicted"), ("1.2", "predicted"), ("1.3", "prior"), ("4.4", "refused")
    ]  # fmt: skip
    write_submission(tmp_path / "submission.csv", studies, None)
    rows = _read(tmp_path / "submission.csv")
    assert [row["row_id"] for row in rows[:8]] == [f"1.1_{kind}" for kind in PREDICTION_TYPES]
    assert len(rows) == 32
    assert rows[0]["fractured"] == "0.333333"
    assert {row["fractured"] for row in rows[24:]} == {"0.050000"}


def test_rows_of_the_table_in_its_order_and_no_row_without_an_answer(manifests, tmp_path):
    test = tmp_path / "test.csv"
    asked = [("9.9", "C1"), ("7.7", "patient_overall"), ("4.4", "C2"), ("1.1", "C7")]
    lines = [f"{study}_{kind},{study},{kind}" for study, kind in asked]
    test.write_text("\n".join(["row_id,StudyInstanceUID,prediction_type", *lines]) + "\n")
    studies = collect(manifests, PRIOR, test)
    # 9.9 is the folder of study 1.2; 7.7 is nowhere; the study that nobody asked for comes last.
    assert [(row.study, row.status) for row in studies] == [
        ("1.2", "predicted"), ("7.7", "missing"), ("4.4", "refused"), ("1.1", "predicted"), ("1.3", "prior")
    ]  # fmt: skip
    write_submission(tmp_path / "submission.csv", studies, test)
    assert (tmp_path / "submission.csv").read_text() == (
        "row_id,fractured\n9.9_C1,0.700000\n7.7_patient_overall,0.050000\n4.4_C2,0.050000\n1.1_C7,0.333333\n"
    )


def test_predictions_table(manifests, tmp_path):
    write_predictions(tmp_path / "predictions.csv", collect(manifests, PRIOR, None))
    rows = {row["StudyInstanceUID"]: row for row in _read(tmp_path / "predictions.csv")}
    assert rows["1.2"]["levels_visible"] == "C1 C2 C3 C4 C5 C6"
    assert rows["1.2"]["notes"] == "not visible: C7"
    assert (rows["4.4"]["status"], rows["4.4"]["code"], rows["4.4"]["notes"]) == ("refused", "no_ct", "no CT slice")
    assert (rows["1.2"]["series"], rows["1.2"]["number"], rows["1.2"]["slices"]) == ("1.2.2", "2", "87")
    assert rows["1.2"]["other_series"] == "series 1 (12 slices of 1 mm, kernel B60): thicker slices"
    assert (rows["1.2"]["C1"], rows["1.3"]["C1"], rows["4.4"]["C1"]) == ("0.700000", "", "")


def test_a_study_that_failed_is_not_called_refused(tmp_path):
    write_manifest(tmp_path / "0.json", {}, {"1.2": {"code": "failed", "reason": "no memory"}})
    (row,) = collect([tmp_path / "0.json"], PRIOR, None)
    assert (row.status, row.code, row.notes) == ("failed", "failed", ("no memory",))


def test_without_classifiers_there_are_statuses_and_no_probabilities(tmp_path):
    key, facts = Key("predict_studies", {}, {}, "code"), replace(_facts(None, source="mask"), probabilities=None)
    digest = write_record(tmp_path / "0" / "1.2.json", key, {}, facts.to_json()).digest
    write_manifest(tmp_path / "0.json", {"1.2": digest}, {"4.4": {"code": "no_ct", "reason": "no CT slice"}})
    test = tmp_path / "test.csv"
    test.write_text("row_id,StudyInstanceUID,prediction_type\n7.7_C1,7.7,C1\n")
    studies = collect([tmp_path / "0.json"], None, test)
    assert [(row.study, row.status) for row in studies] == [
        ("7.7", "missing"),
        ("1.2", "segmented"),
        ("4.4", "refused"),
    ]
    write_predictions(tmp_path / "predictions.csv", studies)
    rows = {row["StudyInstanceUID"]: row for row in _read(tmp_path / "predictions.csv")}
    assert {rows[study][target] for study in rows for target in TARGETS} == {""}
    assert rows["1.2"]["levels_visible"] == "C1 C2 C3 C4 C5 C6"
    write_submission(tmp_path / "submission.csv", studies, test)
    assert (tmp_path / "submission.csv").read_text() == "row_id,fractured\n"


def test_a_strange_table_is_a_sentence(manifests, tmp_path):
    test = tmp_path / "test.csv"
    test.write_text("row_id,StudyInstanceUID,prediction_type\n1.1_T1,1.1,T1\n")
    with pytest.raises(UserError, match=r"line 2: prediction_type is 'T1'"):
        collect(manifests, PRIOR, test)
    test.write_text("row_id,study\n1,2\n")
    with pytest.raises(UserError, match="lacks the columns StudyInstanceUID, prediction_type"):
        collect(manifests, PRIOR, test)
    with pytest.raises(UserError, match="cannot be read as a table"):
        collect(manifests, PRIOR, tmp_path / "nowhere.csv")


POINT = OperatingPoint(0.4, 0.92, 0.6, (0.8, 0.98), None, 30, 200)
POINTS = OperatingPoints(
    {name: {"patient_overall": POINT, "vertebra": replace(POINT, threshold=0.55)} for name in points_module.POINTS},
    ("ir-0", "ip-0"),
    ("none",),
    ("fp32",),
    150,
)


def _study(**changes):
    probabilities = dict.fromkeys(TARGETS, 0.1) | {"patient_overall": 0.4, "C2": 0.55, "C3": 0.549999}
    models = {"ir-0": tuple(probabilities.values()), "ip-0": tuple(p + 0.1 for p in probabilities.values())}
    known = {
        "study": "1.2",
        "probabilities": probabilities,
        "status": "predicted",
        "models": models,
        "levels": dict.fromkeys(LEVELS, "visible") | {"C5": "interpolated", "C7": "missing"},
        "partly": ("C1", "C6"),
        "flips": ("none",),
        "precision": "fp32",
        "names": frozenset({"1.2"}),
    }
    return PredictedStudy(**(known | changes))


def test_what_lies_at_the_operating_point_or_above_is_marked():
    (study,) = mark([_study()], POINTS, "youden")
    assert (study.operating_point, study.above) == ("youden", {"patient_overall", "C2"})
    assert study.about_point == (
        "Operating point youden: it marks the patient from 0.40 on (sensitivity 0.92, 95 % 0.80 to 0.98, specificity "
        "0.60) and a level from 0.55 on (sensitivity 0.92, 95 % 0.80 to 0.98, specificity 0.60); fixed out of fold on "
        "150 studies by networks of one fold each, of which this prediction averages several."
    )


@pytest.mark.parametrize(
    ("changes", "points", "name", "words"),
    [
        ({}, None, "youden", "No operating point is known: the bundle holds none."),
        ({}, POINTS, "none", "No operating point was chosen."),
        (
            {"flips": ("none", "horizontal")},
            POINTS,
            "youden",
            "No operating point holds: this study was predicted with",
        ),
        ({"models": {"ir-0": (0.5,) * 8}}, POINTS, "youden", "No operating point holds: this study was predicted by"),
        ({"precision": "bf16"}, POINTS, "youden", "No operating point holds: this study was predicted in bf16"),
        ({"status": "implausible"}, POINTS, "youden", ""),
        ({"status": "prior"}, POINTS, "youden", ""),
        ({"probabilities": None, "status": "refused"}, POINTS, "youden", ""),
    ],
)
def test_nothing_is_marked_where_no_point_holds(changes, points, name, words):
    (study,) = mark([_study(**changes)], points, name)
    assert (study.operating_point, study.above) == ("", frozenset())
    assert study.about_point.startswith(words)
    assert bool(study.about_point) == bool(words)


@pytest.mark.parametrize(("networks", "flips"), [(("unet-0",), ("none",)), (("unet-0", "unet-1"), ("horizontal",))])
def test_nothing_is_marked_over_a_mask_that_was_made_in_another_way(networks, flips):
    """``--members`` may name segmentation networks alone, and ``--flips`` those that the classifiers use anyway."""
    own = MaskMakers(("unet-0", "unet-1"), ("none",))
    (same,) = mark([_study(masks=own)], POINTS, "youden", own)
    assert same.operating_point == "youden"
    (other,) = mark([_study(masks=MaskMakers(networks, flips))], POINTS, "youden", own)
    assert (other.operating_point, other.above) == ("", frozenset())
    assert other.about_point == (
        f"No operating point holds: the mask was made by {', '.join(networks)} with the flips {flips[0]}, and the "
        "bundle's own are by unet-0, unet-1 with the flips none."
    )


def test_the_table_has_marks_states_and_the_spread_of_the_classifiers(tmp_path):
    implausible = _study(study="1.3", status="implausible", reasons=("no neck",))
    write_predictions(tmp_path / "predictions.csv", mark([_study(), implausible], POINTS, "sensitivity_90"))
    first, second = _read(tmp_path / "predictions.csv")
    assert (first["operating_point"], first["above"]) == ("sensitivity_90", "patient_overall C2")
    assert (first["levels_visible"], first["levels_partly"], first["levels_interpolated"]) == (
        "C2 C3 C4",
        "C1 C6",
        "C5",
    )
    assert (first["C2_lowest"], first["C2_highest"]) == ("0.550000", "0.650000")
    assert {second[name] for name in second if name.endswith(("lowest", "highest")) or name in TARGETS} == {""}
    assert (second["operating_point"], second["above"]) == ("", "")
