"""The profile for Slurm against the rules; tests/slurm runs it."""

import re

import pytest
import yaml

from benchmarks.tiny import TINY
from tests.workflow.runs import ROOT, snakemake

PROFILE = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8"))
RULES = {
    name: body
    for path in sorted((ROOT / "rules").glob("*.smk"))
    for name, body in re.findall(r"(?ms)^rule (\w+):\n(.*?)(?=^rule |\Z)", path.read_text(encoding="utf-8"))
    if "shell:" in body
}
GPU_RULES = {name for name, body in RULES.items() if re.search(r"\bgpu=", body)}


def test_every_rule_has_its_memory_and_time_in_the_profile_or_the_rule():
    assert PROFILE["set-resources"].keys() == RULES.keys()
    for name, resources in PROFILE["set-resources"].items():
        assert "attempt" in resources["runtime"], name
        # What follows from max_study_mb is left to the rule: a number here would go before it.
        assert ("mem_mb" in resources) != ("mem_mb=for_a_study(" in RULES[name]), name


def test_the_profile_asks_for_what_the_rules_ask_for():
    """A site that changes one of them sees the other."""
    for name, body in RULES.items():
        resources = PROFILE["set-resources"][name]
        if "mem_mb" in resources:
            asked = re.search(r"mem_mb=grows\((\d+)\)", body)[1]
            assert resources["mem_mb"] == f"{asked} * attempt", name
        minutes = re.search(r"runtime=grows\((\d+)\)", body)[1]
        assert resources["runtime"] == f"{minutes} * attempt", name


def test_rules_with_gpus_share_a_partition_of_their_own():
    partitions = {name: row.get("slurm_partition") for name, row in PROFILE["set-resources"].items()}
    assert {name for name, partition in partitions.items() if partition} == GPU_RULES
    assert len(set(partitions.values())) == 2


def test_an_array_is_never_held_back_by_a_limit():
    # The plugin would wait for ever.
    array_rules = set(PROFILE["slurm-array-jobs"].split(","))
    assert array_rules <= RULES.keys() - GPU_RULES
    shards = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["shards"]
    assert PROFILE["jobs"] >= shards


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("train_classifier", {"mem_mb": "64000", "runtime": "1440", "slurm_partition": "gpu", "gpu": "0"}),
        ("convert_volumes", {"mem_mb": "4000", "runtime": "120", "slurm_partition": "main"}),
    ],
)
def test_the_profile_reaches_the_jobs(tmp_path, rule, expected):
    assert planned_resources(tmp_path, rule, expected) == expected


@pytest.mark.parametrize(
    ("rule", "memory"), [("convert_volumes", "10000"), ("make_crops", "10000"), ("predict_studies", "22000")]
)
def test_a_larger_study_asks_the_scheduler_for_more_memory(tmp_path, rule, memory):
    """Three volumes of 3,000 MB beside what the job takes anyway."""
    found = planned_resources(tmp_path, rule, ["mem_mb"], "--config", "max_study_mb=3000")
    assert found == {"mem_mb": memory}


def planned_resources(folder, rule, keys, *arguments):
    process = snakemake(
        *("--workflow-profile", ROOT / "profiles/slurm", "-n", *arguments, "--configfile", TINY),
        directory=folder,
    )
    assert process.returncode == 0, process.stderr
    planned = re.search(rf"(?s)rule {rule}:.*?resources: ([^\n]*)", process.stdout + process.stderr)
    resources = dict(item.split("=", 1) for item in planned[1].split(", ") if "=" in item)
    return {key: resources.get(key) for key in keys}
