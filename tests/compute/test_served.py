"""Cards and drivers that a build of torch serves, and those that it refuses."""

from __future__ import annotations

import pytest
import torch

from spine_models.compute import served
from spine_models.compute.nvml import Driver, Gpu
from spine_models.compute.served import require_served, require_working
from spine_models.errors import UserError

WHEEL = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


def a_driver(capability=(8, 6), cuda=(13, 0)):
    return Driver("580.1", cuda, (Gpu("A card", "GPU-a", capability, 1, 1),))


def check(driver, architectures=WHEEL, cuda="13.0"):
    require_served(driver, driver.gpus, cuda, architectures)


@pytest.fixture(autouse=True)
def no_compatibility_package(monkeypatch):
    monkeypatch.setattr(served, "_has_compatibility_package", lambda: False)


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 3), (12, 0), (12, 1), (13, 0)])
def test_code_of_the_same_major_or_ptx_serves(capability):
    check(a_driver(capability))


@pytest.mark.parametrize("capability", [(6, 0), (7, 0), (11, 0)])
def test_no_code_and_no_ptx_is_refused(capability):
    with pytest.raises(UserError, match="no code for a A card"):
        check(a_driver(capability))


def test_code_for_a_later_minor_version_does_not_serve():
    with pytest.raises(UserError, match="no code"):
        check(a_driver((8, 0)), ["sm_86", "sm_90a"])


def test_an_unknown_list_refuses_nothing():
    check(a_driver((6, 0)), [])


@pytest.mark.parametrize("cuda", [(13, 0), (13, 2), (14, 0)])
def test_a_driver_serves_every_minor_version_and_earlier_majors(cuda):
    check(a_driver(cuda=cuda), cuda="13.1")


def test_a_driver_of_an_earlier_major_is_refused_but_for_the_compatibility_package(monkeypatch):
    with pytest.raises(UserError, match=r"driver 580.1 serves CUDA 12\.9 and this torch needs 13\.0: update"):
        check(a_driver(cuda=(12, 9)))
    monkeypatch.setattr(served, "_has_compatibility_package", lambda: True)
    check(a_driver(cuda=(12, 9)))


def test_the_compatibility_package_is_found_by_its_folder(monkeypatch, tmp_path):
    monkeypatch.undo()
    folder = tmp_path / "compat"
    folder.mkdir()
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/nowhere:{folder}")
    before = served._has_compatibility_package()
    (folder / "libcuda.so.1").touch()
    assert (before, served._has_compatibility_package()) == (False, True)


def test_a_small_operation_that_fails_is_a_sentence():
    require_working(torch.device("cpu"))
    with pytest.raises(UserError, match=r"sum of two numbers on the GPU fails .*README"):
        require_working(torch.device("meta"))
