"""Distances between what networks look at and slices with a box, all by hand."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from benchmarks.tiny_data import volume_facts
from spine_models.evaluation.ensemble import OofTableFacts
from spine_models.evaluation.localisation import localisation
from spine_models.evaluation.operating_points import POINTS, OperatingPoint, OperatingPoints
from spine_models.levels import LEVELS, TARGETS
from spine_models.provenance.keys import Key
from spine_models.provenance.manifest import write_manifest
from spine_models.provenance.records import write_record
from tests.data.dicom_builder import write_stack

FOUND, MISSED, SEVERAL, LOST = (f"1.2.826.0.1.3680043.{number}" for number in range(1, 5))
POINT = OperatingPoint(0.5, 0.9, 0.5, None, None, 9, 9)


@pytest.fixture
def run(tmp_path):
    """Stacks of 21 slices of 1 mm, called 0.dcm to 20.dcm from the top at 100 mm; volumes keep every second one."""
    affine = ((0.0, 0.0, 0.5, -10.0), (0.0, 0.5, 0.0, -20.0), (-2.0, 0.0, 0.0, 100.0), (0.0, 0.0, 0.0, 1.0))
    studies = {}
    for study in (FOUND, MISSED, SEVERAL, LOST):
        if study != LOST:
            write_stack(tmp_path / "images" / study, 21, StudyInstanceUID=study)
        facts = replace(volume_facts(), affine_lps=affine, z_step=2)
        record = write_record(
            tmp_path / "volumes_half/0" / f"{study}.json", Key("by_hand", {}, {}, ""), {}, facts.to_json()
        )
        studies[study] = record.digest
    write_manifest(tmp_path / "volumes_half/0.json", studies, {})
    # Slices 8, 9 and 10 of FOUND are on the volume's slices 4, 4.5 and 5.
    rows = [f"{study},1,1,2,2,{number}" for study in (FOUND, MISSED, SEVERAL, LOST) for number in (8, 9, 10)]
    (tmp_path / "boxes.csv").write_text("\n".join(["StudyInstanceUID,x,y,width,height,slice_number", *rows]) + "\n")
    return tmp_path


def truth() -> pd.DataFrame:
    table = pd.DataFrame(0, index=[FOUND, MISSED, SEVERAL, LOST], columns=list(TARGETS))
    table["C3"] = 1
    table.loc[SEVERAL, "C4"] = 1
    return table


def predicted() -> pd.DataFrame:
    table = pd.DataFrame(0.1, index=[FOUND, MISSED, SEVERAL, LOST], columns=list(LEVELS))
    table["C3"] = [0.5, 0.49, 0.9, 0.9]
    return table


def looks(*places) -> list[OofTableFacts]:
    """Each network looks at one slice; the middle of the level is slice 9."""
    studies = (FOUND, MISSED, SEVERAL, LOST)
    return [
        OofTableFacts(("none",), ("fp32",), {study: {"C3": (float(place), 9.0)} for study in studies})
        for place in places
    ]


def measured(run, tables, points=None):
    volumes = [run / "volumes_half/0.json"]
    return localisation(run / "boxes.csv", run / "images", volumes, tables, predicted(), truth(), points)


def test_found_fractures_are_compared_with_their_nearest_slice(run) -> None:
    points = OperatingPoints(
        {name: dict.fromkeys(("patient_overall", "vertebra"), POINT) for name in POINTS}, (), (), (), 9
    )
    found = measured(run, looks(4, 7, 0), points)
    assert (found["n"], found["studies"], found["unreadable"]) == (3, 1, 1)
    # 4 is on a slice with a box, 7 two after the last one, 0 four before the first one; the middle is four away.
    assert found["suspicious"] == {"mean_distance": 2.0, "within_1": 0.333333, "within_3": 0.666667}
    assert found["middle"] == {"mean_distance": 4.0, "within_1": 0.0, "within_3": 0.0}


def test_without_a_point_every_single_fracture_counts(run) -> None:
    found = measured(run, looks(4.75))
    assert (found["n"], found["studies"], found["unreadable"]) == (2, 2, 1)
    assert found["suspicious"]["mean_distance"] == 0.25


def test_nothing_to_compare(run) -> None:
    found = measured(run, [])
    assert found == {"n": 0, "studies": 0, "unreadable": 0, "suspicious": None, "middle": None}
