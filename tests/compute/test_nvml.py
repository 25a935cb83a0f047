"""What the driver says, from a library that a test answers for."""

from __future__ import annotations

import pytest

from spine_models.compute import nvml
from spine_models.compute.nvml import Driver, Gpu, read_driver
from spine_models.errors import UserError
from tests.compute.fake_nvml import A6000, FakeNvml


@pytest.fixture
def library(monkeypatch):
    return lambda found: monkeypatch.setattr(nvml.ctypes, "CDLL", lambda _name: found)


def test_it_reads_versions_and_gpus(library):
    library(FakeNvml(gpus=[A6000], cuda=12080))
    assert read_driver() == Driver("580.1", (12, 8), (Gpu(*A6000),))


def test_a_driver_that_is_not_loaded_is_none(library):
    library(FakeNvml(nvml.NOT_LOADED))
    assert read_driver() is None


def test_a_driver_that_fails_is_named(library):
    library(FakeNvml(18))
    with pytest.raises(UserError, match=r"NVML status 18.*nvidia-smi"):
        read_driver()
