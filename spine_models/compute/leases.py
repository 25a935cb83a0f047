"""Which GPU a job computes on: one file lock for each device of this machine.

Snakemake counts GPUs but never says which one a job may use, so that four jobs with ``gpu=1`` would all start on
the first. A lease is an ``flock`` on a file named after the device: the kernel frees it when the process dies,
however it dies.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from spine_models.compute.nvml import Gpu, read_driver
from spine_models.errors import UserError
from spine_models.log import say

VISIBLE = "CUDA_VISIBLE_DEVICES"
DEVICES_OVERRIDE = "SPINE_MODELS_DEVICES"
"""Comma-separated devices to believe in place of the driver's list (simulated machines in tests)."""
SCHEDULER_JOBS: tuple[str, ...] = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "FLUX_JOB_ID", "COBALT_JOBID")
"""Variables that a scheduler sets inside a job, to the job's number."""
_OWNER_ALONE = 0o700
_POLL_SECONDS = 2.0
_LEAST_FREE = 0.5


@dataclass
class Lease:
    """Devices that this process holds until ``release`` or its end.

    Attributes:
        devices: their names as ``CUDA_VISIBLE_DEVICES`` takes them: numbers, or GPU and MIG UUIDs.
        descriptors: open files that carry the locks; empty where a scheduler made the choice.
    """

    devices: tuple[str, ...]
    descriptors: tuple[int, ...]

    def release(self) -> None:
        """Give the devices back before the process ends."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = ()


def lease_devices(
    count: int,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    wait: bool = True,
) -> Lease:
    """Take ``count`` devices that no other job on this machine holds.

    Inside a scheduler's job that sees exactly ``count`` devices, these are used as they are. Where it sees more
    (several jobs inside one allocation), they are leased among the jobs of that allocation.

    Args:
        count: devices that the job needs, at least 1.
        environment: where ``CUDA_VISIBLE_DEVICES`` and the scheduler's variables are read; the process's own.
        folder: where the lock files are; one folder for each user in /tmp, whatever TMPDIR says, since all jobs of a
            machine must meet there.
        wait: wait until devices are free; False refuses at once.

    Raises:
        UserError: if the machine or ``CUDA_VISIBLE_DEVICES`` has fewer devices, if the driver fails, or if none is
            free and ``wait`` is False.
    """
    environment = os.environ if environment is None else environment
    devices = visible_devices(environment)
    _require_usable(devices, count)
    job = scheduler_job(environment)
    if len(devices) < count:
        limit = f"{VISIBLE} lists" if environment.get(VISIBLE) is not None else "this machine has"
        raise UserError(
            f"a job asks for {count} GPUs and {limit} {len(devices)}: lower the key gpus of its stage "
            "or give Snakemake `--resources gpu=N` with no more than there are"
        )
    if job is not None and len(devices) == count:
        return Lease(tuple(devices), ())
    prefix = f"{job}-" if job is not None else ""
    with _private_folder(folder or shared_folder()) as opened:
        return _wait_for(devices, count, opened, prefix, wait)


def shared_folder() -> Path:
    """Return where all jobs of this user on this machine meet."""
    return Path(f"/tmp/spine-models-{os.getuid()}")


@contextmanager
def _private_folder(folder: Path) -> Iterator[int]:
    """Make a folder that only this user may enter, and return a descriptor of it; a link in its place is not followed.

    Anybody may write in /tmp, and so put something there first: a link, by which our files would be made in another
    folder, or a folder in which the locks could be exchanged.
    """
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=_OWNER_ALONE)
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise UserError(
            f"{folder} is not a folder of yours ({error.strerror}): remove it, or have it removed"
        ) from None
    try:
        found = os.fstat(opened)
        if found.st_uid != os.getuid():
            raise UserError(f"{folder} belongs to another user (number {found.st_uid}): have it removed")
        if stat.S_IMODE(found.st_mode) != _OWNER_ALONE:
            os.fchmod(opened, _OWNER_ALONE)
        yield opened
    finally:
        os.close(opened)


def _require_usable(devices: Sequence[str], count: int) -> None:
    twice = sorted({device for device in devices if devices.count(device) > 1})
    if twice:
        raise UserError(f"{VISIBLE} lists {', '.join(twice)} twice, which CUDA refuses: name each GPU once")
    if count > 1 and any(device.startswith("MIG-") for device in devices):
        raise UserError(
            f"a job asks for {count} GPUs and {VISIBLE} lists MIG instances, of which CUDA gives a job only one: "
            "set the key gpus of its stage to 1"
        )


def visible_devices(environment: Mapping[str, str]) -> list[str]:
    """Return the devices that the user, the scheduler or else the driver offers.

    Names in ``CUDA_VISIBLE_DEVICES`` pass through as they are, so that UUIDs of GPUs and MIG instances work. As
    CUDA does, an entry of -1 hides itself and everything behind it.

    Raises:
        UserError: if the driver fails.
    """
    override = environment.get(DEVICES_OVERRIDE)
    listed = environment.get(VISIBLE)
    if listed is None:
        return _names(override) if override is not None else [str(number) for number in range(len(driver_gpus()))]
    names = _names(listed)
    return names[: names.index("-1")] if "-1" in names else names


def driver_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that NVIDIA's driver reports, none where there is no driver.

    Raises:
        UserError: if a driver is installed and fails.
    """
    driver = read_driver()
    return () if driver is None else driver.gpus


def scheduler_job(environment: Mapping[str, str]) -> str | None:
    """Return the number of the scheduler's job that this process runs in, or None outside of one."""
    return next((environment[name] for name in SCHEDULER_JOBS if environment.get(name)), None)


def has_room(device: str, gpus: Sequence[Gpu]) -> bool:
    """Say whether a device has the memory that a job may need: at least half of it is free.

    Leases know nothing of jobs that are not this pipeline's; these show by the memory that they hold. Nothing is known
    of MIG instances, so that they count as free.
    """
    found = [gpu for index, gpu in enumerate(gpus) if device in (str(index), gpu.uuid)]
    return all(gpu.free_bytes >= _LEAST_FREE * gpu.memory_bytes for gpu in found)


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]


def _wait_for(devices: Sequence[str], count: int, folder: int, prefix: str, wait: bool) -> Lease:
    told = False
    while True:
        # Looked at anew each time: the others' jobs end too.
        gpus = driver_gpus()
        held = _take([device for device in devices if has_room(device, gpus)], count, folder, prefix)
        if len(held) == count:
            return Lease(tuple(held), tuple(held.values()))
        # All or nothing: two jobs that each hold a part of what they need would wait for each other for ever.
        for descriptor in held.values():
            os.close(descriptor)
        if not wait:
            raise UserError(f"{_scarce(devices, count)}: wait for the other jobs")
        if not told:
            say(f"waiting: {_scarce(devices, count)}")
            told = True
        time.sleep(_POLL_SECONDS)


def _scarce(devices: Sequence[str], count: int) -> str:
    return (
        f"fewer than {count} of the GPUs {', '.join(devices)} are free "
        "(held by no other job of this pipeline, and with half of their memory unused)"
    )


def _take(devices: Sequence[str], count: int, folder: int, prefix: str) -> dict[str, int]:
    held: dict[str, int] = {}
    for device in devices:
        if len(held) == count:
            break
        name = re.sub(r"[^A-Za-z0-9._-]", "_", f"{prefix}{device}")
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(f"{name}.lock", flags, 0o600, dir_fd=folder)
        except OSError as error:
            raise UserError(
                f"the lock of the GPU {device} in {shared_folder()} cannot be opened ({error.strerror}): "
                "remove that folder while no job computes"
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held[device] = descriptor
        except OSError:
            os.close(descriptor)
    return held
