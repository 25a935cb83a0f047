"""GPUs under Snakemake: it counts them, and the leases say which one is whose."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from benchmarks.data_sets import write_empty_studies
from tests.workflow.runs import ROOT, snakemake

FOUR_JOBS = """
rule all:
    input: expand("{job}.txt", job=range(4))

rule compute:
    output: "{job}.txt"
    resources: gpu=1
    shell: "PYTHON lease.py {resources.gpu} {output}"
"""
# A job holds its device until all four have one.
LEASE = """
import sys, time
from pathlib import Path
from spine_models.compute.leases import lease_devices
lease = lease_devices(int(sys.argv[1]), folder=Path("leases"))
Path(sys.argv[2]).write_text(",".join(lease.devices))
end = time.monotonic() + 120
while len(list(Path().glob("*.txt"))) < 4 and time.monotonic() < end:
    time.sleep(0.05)
"""


def test_four_jobs_at_once_get_four_devices(tmp_path):
    (tmp_path / "Snakefile").write_text(FOUR_JOBS.replace("PYTHON", sys.executable))
    (tmp_path / "lease.py").write_text(LEASE)
    own = {"PYTHONPATH": str(ROOT), "SPINE_MODELS_DEVICES": "0,1,2,3"}
    variables = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    command = [sys.executable, "-m", "snakemake", "--cores", "4", "--resources", "gpu=4"]
    done = subprocess.run(command, cwd=tmp_path, env=variables | own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(path.read_text() for path in tmp_path.glob("*.txt")) == ["0", "1", "2", "3"]


def test_a_job_is_told_how_many_gpus_it_got(tmp_path):
    dataset = write_empty_studies(tmp_path / "data", 4)
    limits = ("--resources", "gpu=2", "--config", f"dataset_dir={dataset}", "pretrained=none", "shards=1")
    process = snakemake("-n", "--printshellcmds", *limits, directory=tmp_path)
    assert process.returncode == 0, process.stderr
    # The trainings ask for four; inference asks for one.
    expected = dict.fromkeys(("train_segmentation", "train_classifier"), "2")
    expected |= dict.fromkeys(("average_checkpoints", "predict_oof", "infer_masks"), "1")
    text = process.stdout + process.stderr
    for rule, gpus in expected.items():
        assert set(re.findall(rf"workflow_scripts\.{rule} .*--gpus (\d+)", text)) == {gpus}, rule
