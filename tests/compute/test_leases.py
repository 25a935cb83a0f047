from __future__ import annotations

import multiprocessing
import os
import signal
import stat
from pathlib import Path

import pytest

from spine_models.compute import nvml
from spine_models.compute.leases import DEVICES_OVERRIDE, lease_devices, scheduler_job, visible_devices
from spine_models.errors import UserError
from tests.compute.fake_nvml import A6000, GIB, FakeNvml

FOUR = {DEVICES_OVERRIDE: "0,1,2,3"}


def _hold(environment: dict[str, str], folder: Path, count: int, channel) -> None:
    channel.send(lease_devices(count, environment, folder, wait=False).devices)
    channel.recv()


def _start(environment: dict[str, str], folder: Path, count: int = 1):
    here, there = multiprocessing.get_context("fork").Pipe()
    process = multiprocessing.get_context("fork").Process(target=_hold, args=(environment, folder, count, there))
    process.daemon = True
    process.start()
    assert here.poll(30)
    return process, here, here.recv()


def _kill(process) -> None:
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
        process.join()


def test_four_jobs_get_four_devices_and_a_killed_one_frees_its_own(tmp_path):
    jobs = [_start(FOUR, tmp_path) for _ in range(4)]
    assert sorted(devices[0] for _, _, devices in jobs) == ["0", "1", "2", "3"]
    with pytest.raises(UserError, match="are free"):
        lease_devices(1, FOUR, tmp_path, wait=False)
    _kill(jobs[2][0])
    assert lease_devices(1, FOUR, tmp_path, wait=False).devices == jobs[2][2]
    for process, _, _ in jobs:
        _kill(process)


def test_a_waiting_job_gets_the_device_of_the_one_that_ends(tmp_path, monkeypatch, capsys):
    environment = {DEVICES_OVERRIDE: "0"}
    first, _, _ = _start(environment, tmp_path)
    monkeypatch.setattr("time.sleep", lambda _seconds: _kill(first))
    assert lease_devices(1, environment, tmp_path).devices == ("0",)
    assert capsys.readouterr().err.count("waiting") == 1


def test_more_than_there_are(tmp_path):
    with pytest.raises(UserError, match="asks for 5 GPUs and this machine has 4"):
        lease_devices(5, FOUR, tmp_path)
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES lists 2"):
        lease_devices(3, FOUR | {"CUDA_VISIBLE_DEVICES": "2,3"}, tmp_path)


def test_the_users_choice_limits_the_leases(tmp_path):
    environment = FOUR | {"CUDA_VISIBLE_DEVICES": "2,3"}
    first = lease_devices(1, environment, tmp_path, wait=False)
    second = lease_devices(1, environment, tmp_path, wait=False)
    assert {*first.devices, *second.devices} == {"2", "3"}
    with pytest.raises(UserError, match="free"):
        lease_devices(1, environment, tmp_path, wait=False)
    second.release()
    assert lease_devices(1, environment, tmp_path, wait=False).devices == second.devices


def test_names_of_gpus_pass_through(tmp_path):
    names = "GPU-11c29e81-e611-50b5-b5ef-609c0a0fe58b, GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
    lease = lease_devices(2, {"CUDA_VISIBLE_DEVICES": names}, tmp_path)
    assert ", ".join(lease.devices) == names


@pytest.mark.parametrize(("listed", "found"), [("", []), ("-1", []), ("0,-1,1", ["0"]), ("3", ["3"])])
def test_the_variable_is_read_as_cuda_reads_it(listed, found):
    assert visible_devices({"CUDA_VISIBLE_DEVICES": listed}) == found


def test_the_schedulers_choice_stands(tmp_path):
    environment = {"SLURM_JOB_ID": "17", "CUDA_VISIBLE_DEVICES": "0"}
    # Two steps of one allocation, each confined to a device of its own that it sees as number 0.
    assert [lease_devices(1, environment, tmp_path, wait=False).devices for _ in range(2)] == [("0",), ("0",)]


def test_several_jobs_inside_one_allocation_share_it_out(tmp_path):
    environment = {"SLURM_JOB_ID": "17", "CUDA_VISIBLE_DEVICES": "0,1"}
    leases = [lease_devices(1, environment, tmp_path, wait=False) for _ in range(2)]
    assert sorted(lease.devices[0] for lease in leases) == ["0", "1"]
    other = environment | {"SLURM_JOB_ID": "18"}
    assert lease_devices(1, other, tmp_path, wait=False).devices == ("0",)


def test_a_job_takes_all_or_nothing(tmp_path):
    held = lease_devices(3, FOUR, tmp_path, wait=False)
    with pytest.raises(UserError):
        lease_devices(2, FOUR, tmp_path, wait=False)
    assert lease_devices(1, FOUR, tmp_path, wait=False).devices == ("3",)
    held.release()


def test_the_schedulers_number_is_found_whatever_it_is_called():
    assert scheduler_job({"LSB_JOBID": "4", "PBS_JOBID": ""}) == "4"
    assert scheduler_job(FOUR) is None


def test_a_device_named_twice_is_refused_and_not_waited_for(tmp_path):
    with pytest.raises(UserError, match="lists 1 twice"):
        lease_devices(2, {"CUDA_VISIBLE_DEVICES": "1,1"}, tmp_path)


def test_two_mig_instances_for_one_job_are_refused(tmp_path):
    environment = {"CUDA_VISIBLE_DEVICES": "MIG-a,MIG-b"}
    with pytest.raises(UserError, match="MIG instances, of which CUDA gives a job only one"):
        lease_devices(2, environment, tmp_path)
    assert lease_devices(1, environment, tmp_path).devices == ("MIG-a",)


@pytest.mark.parametrize("names", ["0,1", "GPU-busy,GPU-free"])
def test_a_device_that_others_fill_is_passed_over(tmp_path, monkeypatch, names):
    busy, free = ("A", "GPU-busy", (8, 6), 48 * GIB, 20 * GIB), ("A", "GPU-free", (8, 6), 48 * GIB, 30 * GIB)
    monkeypatch.setattr(nvml.ctypes, "CDLL", lambda _name: FakeNvml(gpus=[busy, free]))
    environment = {"CUDA_VISIBLE_DEVICES": names}
    assert lease_devices(1, environment, tmp_path, wait=False).devices == (names.split(",")[1],)
    with pytest.raises(UserError, match="with half of their memory unused"):
        lease_devices(1, environment, tmp_path, wait=False)


def test_a_job_waits_until_others_leave_room(tmp_path, monkeypatch):
    found = FakeNvml(gpus=[("A", "GPU-a", (8, 6), 48 * GIB, 1 * GIB)])
    monkeypatch.setattr(nvml.ctypes, "CDLL", lambda _name: found)
    monkeypatch.setattr("time.sleep", lambda _seconds: found.gpus.__setitem__(0, A6000))
    assert lease_devices(1, {"CUDA_VISIBLE_DEVICES": "0"}, tmp_path).devices == ("0",)


def test_leases_lie_in_one_folder_of_the_user_whatever_tmpdir_says(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    name = f"test-{os.getpid()}"
    lease = lease_devices(1, {"CUDA_VISIBLE_DEVICES": name}, wait=False)
    path = Path(f"/tmp/spine-models-{os.getuid()}") / f"{name}.lock"
    try:
        assert path.is_file()
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert list(tmp_path.iterdir()) == []
    finally:
        lease.release()
        path.unlink(missing_ok=True)


def test_a_folder_that_others_may_write_to_becomes_the_owners_alone(tmp_path):
    folder = tmp_path / "leases"
    folder.mkdir()
    folder.chmod(0o777)
    lease_devices(1, FOUR, folder, wait=False)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_links_are_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "leases").symlink_to(elsewhere)
    with pytest.raises(UserError, match="is not a folder of yours"):
        lease_devices(1, FOUR, tmp_path / "leases", wait=False)
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "0.lock").symlink_to(elsewhere / "made")
    with pytest.raises(UserError, match="the lock of the GPU 0"):
        lease_devices(1, {DEVICES_OVERRIDE: "0"}, folder, wait=False)
    assert list(elsewhere.iterdir()) == []


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(UserError, match="belongs to another user"):
        lease_devices(1, FOUR, tmp_path, wait=False)
