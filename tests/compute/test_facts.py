"""Facts of a run, and the versions of cuDNN that are slow."""

from __future__ import annotations

import pytest
import torch

from spine_models.compute import facts, nvml
from spine_models.compute.facts import run_facts, slow_cudnn
from tests.compute.fake_nvml import FakeNvml


@pytest.mark.parametrize(
    ("version", "precision", "slow"),
    [
        (90701, "bf16", False),
        (90800, "bf16", True),
        (91000, "fp16", True),
        (91402, "fp16", True),
        (91500, "bf16", False),
        (91900, "bf16", False),
        (91000, "fp32", False),
        (91000, "tf32", False),
        (None, "bf16", False),
    ],
)
def test_slow_versions_of_cudnn(version, precision, slow):
    assert (slow_cudnn(version, precision) is not None) == slow


def test_the_sentence_names_the_version():
    assert "cuDNN 9.10 " in (slow_cudnn(91002, "bf16") or "")


def test_a_run_on_a_gpu_names_card_driver_and_versions(monkeypatch):
    monkeypatch.setattr(nvml.ctypes, "CDLL", lambda _name: FakeNvml())
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _index: "A card")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(facts, "cudnn_version", lambda: 91002)
    found = run_facts("cuda", "bf16")
    assert (found["gpu"], found["driver"], found["cuda"], found["cudnn"]) == ("A card", "580.1", "13.0", 91002)
    assert (found["precision"], found["tf32"]) == ("bf16", False)
    assert "9.15" in found["warning"]


def test_a_run_on_the_cpu_names_its_precision():
    found = run_facts("cpu", "fp32")
    assert (found["device"], found["precision"]) == ("cpu", "fp32")
    assert "gpu" not in found
