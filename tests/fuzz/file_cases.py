"""Damaged label maps, tables and configurations: an error with a sentence, or what an independent reader reads."""

from __future__ import annotations

import csv
import gzip
import io
import random
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import yaml

from benchmarks.tiny_data import volume_facts
from spine_models.configuration.checked import checked
from spine_models.data.dataset.quarantine import StudyRefused
from spine_models.data.dataset.tables import read_boxes, read_test, read_train
from spine_models.data.labels.nifti import LabelSettings, read_label
from spine_models.data.labels.onto_grid import half_label
from spine_models.errors import UserError
from spine_models.levels import TARGETS
from tests.fuzz.mutations import ABSURD_TEXT, damage_bytes, damage_text

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (6, 16, 16)
AFFINE = np.array([[0, 0, 0.5, -20], [0, 0.5, 0, -30], [-2, 0, 0, 90], [0, 0, 0, 1.0]])
FACTS = volume_facts(
    shape=SHAPE, half_shape=(6, 8, 8), half_inner_shape=(6, 8, 8), slices=6, affine_lps=AFFINE.tolist(),
    half_affine_lps=(AFFINE @ np.array([[1, 0, 0, 0], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1]])).tolist(),
)  # fmt: skip


@cache
def label_bytes(dtype: str) -> bytes:
    """A label map on the volume's grid, stored with its slices from the feet up."""
    values = np.random.default_rng(3).integers(0, 12, SHAPE)[::-1].transpose(2, 1, 0).astype(dtype)
    affine = np.array([[-0.5, 0, 0, 20], [0, -0.5, 0, 30], [0, 0, 2, 80], [0, 0, 0, 1.0]])
    return nib.Nifti1Image(values, affine).to_bytes()


def run_label_case(rng: random.Random) -> str:
    """Damage a label map; what comes out must be what nibabel has at each half pixel's place."""
    data = damage_bytes(rng, label_bytes(rng.choice(("<u1", "<i2", "<f4"))))
    suffix = rng.choice((".nii", ".nii.gz"))
    if suffix == ".nii.gz":
        data = gzip.compress(data, 1)
        data = damage_bytes(rng, data) if rng.random() < 0.3 else data
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(name) / f"a{suffix}"
        path.write_bytes(data)
        try:
            half, _ = half_label(read_label(path, LabelSettings()), FACTS, LabelSettings())
        except StudyRefused as refusal:
            return f"refused: {refusal.code.value}"
        _compare_label(path, half)
    return "equal"


def _compare_label(path: Path, half: np.ndarray) -> None:
    image = nib.load(path)
    values = np.asarray(image.dataobj, dtype=np.float64)
    values = values.reshape(values.shape[:3])
    to_label = np.linalg.inv(np.diag([-1.0, -1, 1, 1]) @ image.affine) @ np.array(FACTS.half_affine_lps)
    index = np.indices(half.shape).reshape(3, -1).astype(np.float64)
    index[1:] -= 1e-3
    at = np.rint(to_label @ np.vstack([index, np.ones(index.shape[1])]))[:3]
    inside = np.all((at >= 0) & (at < np.array(values.shape)[:, None]), axis=0)
    i, j, k = np.where(inside, at, 0).astype(int)
    found = np.where(inside, np.rint(values[i, j, k]), 255)
    expected = np.where((found > 7) & (found != 255), 0, found)
    different = (expected.reshape(half.shape) != half).mean()
    assert different < 0.02, f"{different:.1%} of a label differ from nibabel's"


TABLE = "StudyInstanceUID,patient_overall,C1,C2,C3,C4,C5,C6,C7\n" + "".join(
    f"1.2.826.{i},{int(i % 3 == 0)},{int(i % 3 == 0)},0,0,0,{int(i % 6 == 0)},0,0\n" for i in range(12)
)


BOXES = "StudyInstanceUID,x,y,width,height,slice_number\n" + "".join(
    f"1.2.826.{i % 12},{219 + i / 8},{216.5 - i},17.3,{13 + i},{133 + i}\n" for i in range(9)
)
TEST = "row_id,StudyInstanceUID,prediction_type\n" + "".join(
    f"1.2.826.{i}_{target},1.2.826.{i},{target}\n" for i in range(3) for target in TARGETS
)
STUDIES = {f"1.2.826.{i}" for i in range(12)}
TABLES: tuple[tuple[str, Callable[[Path], Any]], ...] = (
    (TABLE, read_train),
    (BOXES, lambda path: read_boxes(path, STUDIES)),
    (TEST, read_test),
)


def run_table_case(rng: random.Random) -> str:
    """Damage train.csv, the boxes or test.csv; what comes out must be what the csv module reads."""
    original, read = rng.choice(TABLES)
    data = damage_text(rng, original).encode("utf-8", "replace")
    data = damage_bytes(rng, data) if rng.random() < 0.2 else data
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(name) / "table.csv"
        path.write_bytes(data)
        try:
            table = read(path)
        except UserError as error:
            assert "\n" not in str(error)
            return "refused: table"
    text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    rows = [
        [cell.strip() for cell in row] for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)
    ]
    columns = [rows[0].index(name) for name in table.columns]
    kinds = [str if value.dtype == object or str(value.dtype) == "str" else float for _, value in table.items()]
    expected = [[kind(row[c]) for kind, c in zip(kinds, columns, strict=True)] for row in rows[1:]]
    assert expected == table.to_numpy().tolist(), "a table reads differently with the csv module"
    return "equal"


@cache
def configuration() -> dict[str, Any]:
    """The full recipe."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text())
    return config


def run_configuration_case(rng: random.Random) -> str:
    """Put absurd values and keys into the configuration: one sentence, or the values that were written."""
    config = yaml.safe_load(yaml.safe_dump(configuration()))
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = config
        while True:
            key = rng.choice(list(place))
            if not isinstance(place[key], dict) or not place[key] or rng.random() < 0.2:
                break
            place = place[key]
        match rng.randrange(4):
            case 0:
                del place[key]
                if not place:
                    break
            case 1:
                place[key + "x"] = place.pop(key)
            case _:
                place[key] = rng.choice(
                    (*ABSURD_TEXT, 0, -1, 1.5, True, None, [], {}, [1], 1 << 70, float("nan"), "true")
                )
    try:
        result = checked(config, ROOT / "rules/config.schema.yaml")
    except UserError as error:
        assert "\n" not in str(error)
        return "refused: configuration"
    _compare_configuration(config, result, configuration())
    return "equal"


def _compare_configuration(given: Any, result: Any, default: Any) -> None:
    """Every value is the one that was given, or the documented default where none was."""
    if isinstance(default, dict) and default:
        assert set(result) >= set(default)
        for key, value in result.items():
            _compare_configuration(given.get(key, default.get(key)), value, default.get(key))
    else:
        assert result == given or _is_written(result, given), f"{given!r} became {result!r}"


def _is_written(result: Any, given: Any) -> bool:
    """Values that come from the command line are texts; an empty text and null are the same.

    A path that a command line would take for an option is made absolute.
    """
    if str(given).startswith("-") and result == str(Path(str(given)).absolute()):
        return True
    if isinstance(result, int | float) and not isinstance(result, bool) and isinstance(given, str):
        return (int(given) if isinstance(result, int) and given.strip("-").isdigit() else float(given)) == result
    return str(result).lower() == ("" if given is None else str(given).lower())
