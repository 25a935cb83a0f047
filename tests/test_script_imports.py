"""A script loads what its stage needs: torch where networks compute, Lightning and what draws where they train."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRAINING = ("pytorch_lightning", "lightning_fabric", "torchmetrics", "albumentations", "matplotlib", "tensorboard")
NETWORKS = ("torch", "mmaction", "mmcv", "mmengine", "safetensors")
SCANS = ("pydicom", "nibabel", "scipy", "cv2", "imagecodecs")
WITHOUT = {
    "a download": (("fetch_pretrained",), (*TRAINING, *NETWORKS, *SCANS, "numpy", "pandas")),
    "tables": (
        ("collect_quarantine", "evaluate", "make_folds", "predict", "report"),
        (*TRAINING, *NETWORKS, *SCANS),
    ),
    "scans": (
        ("convert_labels", "convert_volumes", "generate_phantom", "index_predictions", "index_studies", "make_crops"),
        (*TRAINING, *NETWORKS),
    ),
    "networks": (
        (
            "average_checkpoints",
            "export_bundle",
            "export_mask_bundle",
            "infer_masks",
            "predict_oof",
            "predict_studies",
        ),
        TRAINING,
    ),
    "trainings": (("train_classifier", "train_segmentation"), ("pydicom", "nibabel", "imagecodecs", "tensorboard")),
}
_SAY_LOADED = """
import contextlib, io, json, runpy, sys
name, *scripts = sys.argv[1:]
loaded = {}
for script in scripts:
    before, sys.argv = set(sys.modules), [script, "--help"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        runpy.run_path(f"workflow_scripts/{script}.py", run_name=name)
    loaded[script] = sorted({module.partition(".")[0] for module in set(sys.modules) - before})
json.dump(loaded, sys.stdout)
"""


def loaded_by(scripts, name):
    """Return which libraries each script loads on its way to its arguments, as ``__main__`` or by another name."""
    command = [sys.executable, "-c", _SAY_LOADED, name, *scripts]
    return json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout)


def test_every_script_is_in_a_group():
    grouped = sorted(script for scripts, _ in WITHOUT.values() for script in scripts)
    assert grouped == sorted(path.stem for path in (ROOT / "workflow_scripts").glob("*.py"))


@pytest.mark.parametrize("group", WITHOUT)
def test_scripts_load_nothing_that_their_stage_does_not_need(group):
    scripts, without = WITHOUT[group]
    loaded = loaded_by(scripts, "__main__")
    assert all(loaded[script] for script in scripts[:1])
    assert {script: set(without).intersection(names) for script, names in loaded.items()} == {
        script: set() for script in scripts
    }


def test_the_process_that_reads_new_studies_loads_no_network():
    # Multiprocessing imports the script once more in it, by another name.
    assert "torch" in loaded_by(["predict_studies"], "__main__")["predict_studies"]
    assert not {*TRAINING, *NETWORKS}.intersection(loaded_by(["predict_studies"], "__mp_main__")["predict_studies"])
