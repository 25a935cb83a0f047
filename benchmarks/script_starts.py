"""How long the imports of each workflow script take, beside ``import torch``: each in a fresh process, in turns.

    python -m benchmarks script_starts

Scripts that compute with no network load no torch and should start sooner than torch alone is loaded; the others are
only reported. ``tests/test_script_imports.py`` says what each script may not load.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.alternating import alternating
from benchmarks.row import Row

ROOT = Path(__file__).resolve().parents[1]
_ROUNDS = 3
_WITH_NETWORKS = (
    "average_checkpoints",
    "export_bundle",
    "export_mask_bundle",
    "infer_masks",
    "predict",
    "predict_oof",
    "predict_studies",
    "train_classifier",
    "train_segmentation",
)


def measure() -> list[Row]:
    """Import each script and torch in turns."""
    scripts = sorted(path.stem for path in (ROOT / "workflow_scripts").glob("*.py"))
    return [_row(script) for script in scripts]


def _row(script: str) -> Row:
    code = f"import runpy; runpy.run_path('workflow_scripts/{script}.py', run_name='imported')"
    times = alternating(lambda: _run(code), lambda: _run("import torch"), _ROUNDS)
    return times.row(f"imports of {script} beside torch alone", None if script in _WITH_NETWORKS else 1.0)


def _run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
