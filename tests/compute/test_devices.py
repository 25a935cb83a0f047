from __future__ import annotations

import ctypes
import os

import pytest
import torch

from spine_models.compute import leases
from spine_models.compute.devices import Compute, use_device
from spine_models.errors import UserError


class Nvml:
    """A driver that answers ``status`` to everything."""

    def __init__(self, status: int, devices: int = 2) -> None:
        self._status, self._devices = status, devices

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return self._status

    def nvmlShutdown(self) -> int:  # noqa: N802
        return 0

    def nvmlDeviceGetCount_v2(self, number) -> int:  # noqa: N802
        ctypes.cast(number, ctypes.POINTER(ctypes.c_uint))[0] = self._devices
        return 0


@pytest.fixture
def driver(monkeypatch, tmp_path):
    def install(nvml: Nvml | None) -> None:
        def load(_name: str) -> Nvml:
            if nvml is None:
                raise OSError("no such library")
            return nvml

        monkeypatch.setattr(leases.ctypes, "CDLL", load)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(leases.tempfile, "gettempdir", lambda: str(tmp_path))
    return install


def test_auto_without_a_driver_says_cpu_once(driver, capsys):
    driver(None)
    assert use_device("auto", 2, 1) == Compute("cpu", 1, 1)
    assert capsys.readouterr().err == "computing on the CPU: no NVIDIA driver is installed\n"


def test_no_gpus_means_cpu_said_once(driver, capsys):
    driver(Nvml(0))
    assert use_device("auto", 0, 1).kind == "cpu"
    assert capsys.readouterr().err.count("CPU") == 1


def test_cuda_without_a_driver_is_an_error(driver):
    driver(None)
    with pytest.raises(UserError, match="no NVIDIA driver"):
        use_device("cuda", 1, 1)


def test_cuda_without_gpus_is_an_error(driver):
    driver(Nvml(0))
    with pytest.raises(UserError, match="0 GPUs"):
        use_device("cuda", 0, 1)


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_driver_that_fails_is_an_error(driver, device):
    driver(Nvml(18))
    with pytest.raises(UserError, match="NVML status 18"):
        use_device(device, 1, 1)


def test_the_cpu_asks_no_driver(driver):
    driver(Nvml(18))
    assert use_device("cpu", 4, 1).processes == 1


def test_a_torch_without_cuda_is_named(driver, monkeypatch):
    driver(Nvml(0))
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(UserError, match="built for the CPU alone"):
        use_device("auto", 1, 1)


def test_gpus_are_leased_and_shown_to_cuda(driver, monkeypatch):
    driver(Nvml(0, devices=2))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    compute = use_device("auto", 1, 1)
    assert (compute.kind, compute.processes, str(compute.device)) == ("cuda", 1, "cuda:0")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    with pytest.raises(UserError, match="lists 1"):
        use_device("auto", 2, 1)


def test_the_driver_counts_where_the_user_lists_nothing(driver, monkeypatch):
    driver(Nvml(0, devices=2))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert use_device("cuda", 2, 1).processes == 2
    assert os.environ.pop("CUDA_VISIBLE_DEVICES") == "0,1"


def test_threads_and_determinism_on_the_cpu():
    use_device("cpu", 0, 2)
    assert torch.get_num_threads() == 2
    assert torch.are_deterministic_algorithms_enabled()
