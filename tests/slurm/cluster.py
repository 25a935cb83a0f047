"""A Slurm of one node on the loopback address, with GPUs that are only counted."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.workflow.runs import ROOT

NODE = "node1"
GPUS = 4
PROGRAMS = {"munged": "munge", "slurmctld": "slurmctld", "slurmd": "slurmd", "srun": "slurm-client"}
"""Program to the Debian package that holds it."""
_SEARCHED = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_PATIENCE = 60.0
"""Seconds that a busy machine may need to start or stop something."""

# Memory and processors are pretended, so that the rules may ask for what they need on the full data set. Memory is
# watched all the same: what a job really uses is looked at every second.
_CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill,NoShared
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
EnforcePartLimits=ALL
KillWait=5
MinJobAge=3600
GresTypes=gpu
DefMemPerCPU=1000
SlurmdParameters=config_overrides
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs=32 RealMemory=2000000 Gres=gpu:{gpus}
PartitionName=main Nodes={node} Default=YES MaxTime=1-00:00:00
PartitionName=gpu Nodes={node} MaxTime=4-00:00:00
"""


def missing_packages() -> list[str]:
    """Return the Debian packages that the cluster lacks here."""
    return [package for program, package in PROGRAMS.items() if not shutil.which(program, path=_SEARCHED)]


class Cluster:
    """munged, slurmctld and slurmd as children of this process; they die with it, however it ends."""

    def __init__(self, folder: Path) -> None:
        """Use ``folder`` for everything; its path must be short, since Unix sockets are in it."""
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{folder}/bin:{_SEARCHED}",
            "SLURM_CONF": str(folder / "slurm.conf"),
        }
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the daemons and return when the node takes jobs."""
        self._write_files()
        # --force: although everybody may write into the temporary folder above.
        self._spawn("munged", "--foreground", "--force", f"--key-file={self.folder}/munge.key",
                    f"--socket={self.folder}/munge.sock", f"--pid-file={self.folder}/munged.pid",
                    f"--log-file={self.folder}/munged.log", f"--seed-file={self.folder}/munge.seed")  # fmt: skip
        wait_until((self.folder / "munge.sock").exists, "munged listens")
        self._spawn("slurmctld", "-D", "-i")
        self._spawn("slurmd", "-D", "-N", NODE)
        wait_until(lambda: self.node_state() == "idle", "the node is idle")

    def stop(self) -> None:
        """Cancel what runs and end every process of this cluster, jobs included."""
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired, TimeoutError):
            self.command("scancel", f"--user={os.getuid()}", "--signal=KILL", "--full")
            self.command("scancel", f"--user={os.getuid()}")
            wait_until(lambda: not self.jobs("%A", "--states=RUNNING,COMPLETING"), "all jobs have ended", 15)
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in self._daemons:
            try:
                daemon.wait(15)
            except subprocess.TimeoutExpired:
                daemon.kill()
        for process in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def step(self, gpus: int, *words: str) -> subprocess.Popen[str]:
        """Start a command in an allocation of its own with ``gpus`` devices; it writes into pipes."""
        allocation = [_program("srun"), "--ntasks=1", f"--gpus={gpus}", "--mem=8000"]
        return subprocess.Popen(
            [*allocation, *words], cwd=ROOT, env=self.environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip

    def command(self, *words: str, timeout: float = _PATIENCE) -> str:
        """Run a command of Slurm and return what it prints."""
        process = subprocess.run(
            words, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        if process.returncode:
            raise RuntimeError(f"{' '.join(words)} failed:\n{process.stdout}{process.stderr}")
        return process.stdout.strip()

    def jobs(self, columns: str, *options: str) -> list[list[str]]:
        """Return a row for each job, oldest first, with ``columns`` of squeue separated by bars."""
        output = self.command("squeue", "--noheader", "--array", "--sort=i", f"--format={columns}", *options)
        return [line.split("|") for line in output.splitlines()]

    def node_state(self) -> str:
        """Return the state of the node; a star behind it says that the node does not answer."""
        try:
            return self.command("sinfo", "--noheader", f"--nodes={NODE}", "--partition=main", "--format=%T")
        except (RuntimeError, subprocess.TimeoutExpired):
            return "no controller"

    def crash_node(self) -> None:
        """End everything on the node at once, as a loss of power does, and let the controller know."""
        # Stopped first: nothing must live long enough to report the death of something else.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in self._processes(of_the_node=True):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)
        self._daemons.pop().wait()
        self.command("scontrol", "update", f"nodename={NODE}", "state=down", "reason=crashed")

    def boot_node(self) -> None:
        """Start the node anew and let it take jobs again."""
        self._spawn("slurmd", "-D", "-N", NODE)
        self.command("scontrol", "update", f"nodename={NODE}", "state=resume")

    def _write_files(self) -> None:
        for name in ("state", "spool", "bin", "devices"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        for number in range(GPUS):
            # Slurm wants device files; it refuses plain ones.
            (self.folder / f"devices/gpu{number}").symlink_to("/dev/null")
        ports = _free_ports(2)
        configuration = _CONFIGURATION.format(
            folder=self.folder,
            host=socket.gethostname().split(".")[0],
            user=subprocess.check_output(["id", "--user", "--name"], text=True).strip(),
            controller_port=ports[0],
            node_port=ports[1],
            node=NODE,
            gpus=GPUS,
        )
        (self.folder / "slurm.conf").write_text(configuration, encoding="utf-8")
        devices = f"{self.folder}/devices/gpu[0-{GPUS - 1}]"
        (self.folder / "gres.conf").write_text(f"AutoDetect=off\nNodeName={NODE} Name=gpu File={devices}\n")
        # Snakemake's plugin takes SLURM_CONF away from the srun that it calls inside a job. Real clusters have their
        # configuration in /etc; this one needs an srun that knows it.
        srun = self.folder / "bin/srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {_program("srun")} "$@"\n')
        srun.chmod(0o755)

    def _spawn(self, program: str, *arguments: str) -> None:
        with (self.folder / f"{program}.out").open("wb") as output:
            daemon = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", _program(program), *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._daemons.append(daemon)

    def _processes(self, of_the_node: bool = False) -> list[int]:
        """Return the processes of this cluster, or those alone that its node runs."""
        # Jobs have the environment, daemons and the minders of jobs have overwritten it but hold their logs open.
        mark, log = f"{self.folder}/bin:".encode(), f"{self.folder}/slurmd.log"
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environment = (path / "environ").read_bytes()
                files = {str(file.readlink()) for file in (path / "fd").iterdir()}
                ours = mark in environment or any(file.startswith(f"{self.folder}/") for file in files)
                node = b"SLURM_JOB_ID=" in environment or log in files
                if ours and (node or not of_the_node):
                    found.append(int(path.name))
        return found


@contextlib.contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Start a cluster in a temporary folder; afterwards nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder))
        try:
            cluster.start()
            yield cluster
        except TimeoutError as error:
            logs = [path.read_text(errors="replace")[-2000:] for path in Path(folder).glob("*.log")]
            raise RuntimeError("\n".join([str(error), *logs])) from error
        finally:
            cluster.stop()


def wait_until(condition: Callable[[], object], what: str, seconds: float = _PATIENCE, pause: float = 0.1) -> None:
    """Return when ``condition`` holds; TimeoutError says ``what`` did not happen."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"after {seconds:g} seconds it is not so that {what}")
        time.sleep(pause)


def _program(name: str) -> str:
    found = shutil.which(name, path=_SEARCHED)
    assert found, name
    return found


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
