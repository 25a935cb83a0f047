"""Python for a workflow's jobs that starts warm, so that a test can run hundreds of real jobs.

Most of a small job's time is the import of torch and Lightning. ``python warm.py SOCKET`` imports them once and then
forks a process for each job, in which the rule's script runs as ``python -m`` runs it: from the checkout's own files,
with the job's arguments, environment, folder and output. ``environment`` makes the jobs' shells call it.
"""

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

SOCKET = "WARM_SOCKET"
PRELOADED = (
    "torch safetensors.torch pytorch_lightning albumentations pandas pandera.pandas mmcv.cnn mmaction.registry "
    "pydicom nibabel cv2 imagecodecs PIL.Image matplotlib snakemake.cli jsonschema smart_open"
)


@contextmanager
def environment(folder):
    """Start the server and yield the variables with which Snakemake's shells find it."""
    path = folder / "socket"
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
    server = subprocess.Popen([sys.executable, __file__, path], env=variables)
    try:
        while not path.exists():
            assert server.poll() is None, "the server of warm jobs did not start"
            time.sleep(0.05)
        # Bash takes an exported function before any program on the PATH.
        function = f'() {{ {sys.executable} -S -E {__file__} "$@"\n}}'
        yield {SOCKET: str(path), "BASH_FUNC_python%%": function}
    finally:
        server.terminate()
        server.wait()


def serve(path):
    for name in PRELOADED.split():
        __import__(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"{path}.new")
    server.listen(16)
    Path(f"{path}.new").rename(path)
    while True:
        connection, _ = server.accept()
        if os.fork() == 0:
            server.close()
            run_job(connection)
        connection.close()


def run_job(connection):
    message, outputs, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    job = json.loads(message)
    for descriptor, output in enumerate(outputs):
        os.dup2(output, descriptor)
    os.environ.clear()
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    sys.path[:1] = [job["folder"], *job["environment"].get("PYTHONPATH", "").split(":")]
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    assert job["arguments"][0] == "-m", "rules call their scripts as modules"
    sys.argv = job["arguments"][1:]
    rule, _, fault = job["environment"].get("JOB_FAULT", "").partition(":")
    if fault and sys.argv[0] == f"workflow_scripts.{rule}":
        runpy.run_path(str(Path(__file__).parents[1] / "faults/errno_shim.py"))["install"](fault)
    if "AT_A_POINT" in job["environment"]:
        # No start of Python imports it here.
        sys.orig_argv = [sys.executable, *job["arguments"]]
        runpy.run_path(str(Path(__file__).parent / "at_a_point/sitecustomize.py"))
    status = 0
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            # As Python does at its end.
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(bytes([status]))
    os._exit(status)


def ask(arguments):
    job = {"arguments": arguments, "environment": dict(os.environ), "folder": str(Path.cwd())}
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.environ[SOCKET])
    socket.send_fds(connection, [json.dumps(job).encode()], [0, 1, 2])
    status = connection.recv(1)
    return status[0] if status else 1


if __name__ == "__main__":
    if SOCKET in os.environ:
        sys.exit(ask(sys.argv[1:]))
    serve(sys.argv[1])
