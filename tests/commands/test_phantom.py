"""``spine-models phantom``: the same data set as the rule's, and every setting as an option."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from spine_models.commands.app import main
from spine_models.data.phantom import dataset
from spine_models.data.phantom.settings import GradeSettings, GradesSettings, PhantomSettings
from spine_models.provenance.canonical import canonical_json, digest_file

ROOT = Path(__file__).resolve().parents[2]


def digests(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): digest_file(path) for path in sorted(root.rglob("*")) if path.is_file()}


def test_command_and_rule_write_the_same_data_set(tmp_path: Path, capsys) -> None:
    flags = ["--studies=2", "--test-studies=0", "--defective=0", "--matrix=32", "--slice-mm=10"]
    with pytest.raises(SystemExit) as caught:
        main(["phantom", f"--out={tmp_path / 'direct'}", "--seed=5", *flags])
    assert caught.value.code == 0
    assert f"2 studies in {tmp_path / 'direct'}, digest " in capsys.readouterr().out
    settings = PhantomSettings(studies=2, segmented=2, test_studies=0, defective=0, matrix=32, slice_mm=10.0)
    section = {key: value for key, value in settings.as_json().items() if key != "marker"} | {"enabled": True}
    config = canonical_json({"phantom": section, "seed": 5})
    command = [sys.executable, "-m", "workflow_scripts.generate_phantom", "--config", config]
    rule = subprocess.run(
        [*command, "--out", str(tmp_path / "rule")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert rule.returncode == 0, rule.stderr
    # The rule vouches for its tables, since later jobs read them.
    made = {name: digest for name, digest in digests(tmp_path / "rule").items() if not name.endswith(".record.json")}
    assert digests(tmp_path / "direct") == made


def test_every_setting_is_an_option(monkeypatch, capsys) -> None:
    asked = PhantomSettings(
        studies=7,
        segmented=3,
        test_studies=2,
        defective=4,
        matrix=64,
        field_of_view_mm=99.0,
        slice_mm=2.5,
        fractured_share=0.25,
        border_share=0.75,
        metal_share=0.375,
        grades=GradesSettings(
            GradeSettings(0.1, 1.5, 100.0, 0.5),
            GradeSettings(0.2, 2.5, 200.0, 1.0),
            GradeSettings(0.7, 3.5, 300.0, 2.0),
        ),
        marker=False,
    )
    assert [
        field.name for field in fields(asked) if getattr(asked, field.name) == getattr(PhantomSettings(), field.name)
    ] == []
    flags = [
        f"--{field.name.replace('_', '-')}={getattr(asked, field.name)}"
        for field in fields(asked)
        if field.name not in ("grades", "marker")
    ]
    for field in fields(asked.grades):
        grade = asked.grades.of(field.name)
        numbers = grade.share, grade.width_mm, grade.contrast_hu, grade.displacement_mm
        flags += [f"--{field.name}", *map(str, numbers)]
    calls: list[tuple[object, ...]] = []

    def generate(*arguments: object) -> dict[str, object]:
        calls.append(arguments)
        return {"studies": {}, "digest": "d"}

    monkeypatch.setattr(dataset, "generate_dataset", generate)
    with pytest.raises(SystemExit):
        main(["phantom", "--out", "somewhere", "--seed", "3", "--threads", "2", "--no-marker", *flags])
    with pytest.raises(SystemExit):
        main(["phantom", "--out", "somewhere"])
    assert calls == [(Path("somewhere"), asked, 3, 2), (Path("somewhere"), PhantomSettings(), 2022, 1)]


def test_an_impossible_setting_is_one_sentence(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["phantom", f"--out={tmp_path / 'x'}", "--matrix=4"])
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: phantom.matrix is 4: choose a value from 32 to 1024\n"
