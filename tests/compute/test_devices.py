from __future__ import annotations

import os

import pytest
import torch

from spine_models.compute import devices, leases, nvml
from spine_models.compute.devices import Compute, use_device
from spine_models.errors import UserError
from tests.compute.fake_nvml import A6000, FakeNvml


@pytest.fixture
def driver(monkeypatch, tmp_path):
    def install(found: FakeNvml | None) -> None:
        def load(_name: str) -> FakeNvml:
            if found is None:
                raise OSError("no such library")
            return found

        monkeypatch.setattr(nvml.ctypes, "CDLL", load)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "require_working", lambda device: None)
    monkeypatch.setattr(leases, "shared_folder", lambda: tmp_path / "leases")
    return install


def test_auto_without_a_driver_says_cpu_once(driver, capsys):
    driver(None)
    assert use_device("auto", 2, 1) == Compute("cpu", 1, 1)
    assert capsys.readouterr().err == "computing on the CPU: no NVIDIA driver is installed or loaded\n"


def test_no_gpus_means_cpu_said_once(driver, capsys):
    driver(FakeNvml())
    assert use_device("auto", 0, 1).kind == "cpu"
    assert capsys.readouterr().err.count("CPU") == 1


def test_cuda_without_a_driver_is_an_error(driver):
    driver(None)
    with pytest.raises(UserError, match="no NVIDIA driver"):
        use_device("cuda", 1, 1)


def test_cuda_without_gpus_is_an_error(driver):
    driver(FakeNvml())
    with pytest.raises(UserError, match="0 GPUs"):
        use_device("cuda", 0, 1)


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_driver_that_fails_is_an_error(driver, device):
    driver(FakeNvml(18))
    with pytest.raises(UserError, match="NVML status 18"):
        use_device(device, 1, 1)


def test_the_cpu_asks_no_driver(driver):
    driver(FakeNvml(18))
    assert use_device("cpu", 4, 1).processes == 1


def test_a_torch_without_cuda_is_named(driver, monkeypatch):
    driver(FakeNvml())
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(UserError, match="built only for the CPU"):
        use_device("auto", 1, 1)


@pytest.mark.parametrize(
    ("found", "listed", "why"),
    [
        (FakeNvml(gpus=[]), None, "NVIDIA's driver finds no GPU"),
        (FakeNvml(), "", "CUDA_VISIBLE_DEVICES hides every GPU"),
        (FakeNvml(), "-1", "CUDA_VISIBLE_DEVICES hides every GPU"),
        (FakeNvml(nvml.NOT_LOADED), None, "no NVIDIA driver is installed or loaded"),
    ],
)
def test_auto_without_a_visible_gpu_computes_on_the_cpu_and_says_why(driver, monkeypatch, capsys, found, listed, why):
    driver(found)
    if listed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert use_device("auto", 1, 1) == Compute("cpu", 1, 1)
    assert capsys.readouterr().err == f"computing on the CPU: {why}\n"
    with pytest.raises(UserError, match=f"device is cuda but {why}: make a GPU visible"):
        use_device("cuda", 1, 1)


def test_a_card_that_torch_has_no_code_for_is_named(driver, monkeypatch):
    driver(FakeNvml(gpus=[A6000, ("Tesla P100", "GPU-p", (6, 0), 2**34, 2**34)]))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(devices, "architectures_of_torch", lambda: ["sm_75", "sm_86"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with pytest.raises(UserError, match=r"no code for a Tesla P100 .*6\.0; it has sm_75, sm_86.*README"):
        use_device("auto", 1, 1)


def test_float32_means_float32_on_a_gpu(driver, monkeypatch):
    driver(FakeNvml())
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", True)
    use_device("cuda", 1, 1)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize(("chosen", "set_by_us"), [(None, ["expandable_segments:True"]), ("max_split_size_mb:64", [])])
def test_segments_of_the_allocator_grow_unless_the_user_chose(driver, monkeypatch, chosen, set_by_us):
    driver(FakeNvml())
    found = []
    monkeypatch.setattr(torch._C, "_accelerator_setAllocatorSettings", found.append)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        monkeypatch.delenv(name, raising=False)
    if chosen is not None:
        monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", chosen)
    use_device("cuda", 1, 1)
    assert found == set_by_us
    use_device("cpu", 1, 1)
    assert found == set_by_us


def test_gpus_are_leased_and_shown_to_cuda(driver, monkeypatch):
    driver(FakeNvml())
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    compute = use_device("auto", 1, 1)
    assert (compute.kind, compute.processes, str(compute.device)) == ("cuda", 1, "cuda:0")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    with pytest.raises(UserError, match="lists 1"):
        use_device("auto", 2, 1)


def test_the_driver_counts_where_the_user_lists_nothing(driver, monkeypatch):
    driver(FakeNvml())
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert use_device("cuda", 2, 1).processes == 2
    assert os.environ.pop("CUDA_VISIBLE_DEVICES") == "0,1"


def test_threads_and_determinism_on_the_cpu():
    use_device("cpu", 0, 2)
    assert torch.get_num_threads() == 2
    assert torch.are_deterministic_algorithms_enabled()
