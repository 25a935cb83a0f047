"""Make one call of the operating system fail in a job, as a full disk, a dead mount or a missing lock daemon does.

``install("fsync ENOSPC 2 *.npy")`` lets the second ``fsync`` of a file whose path fits the pattern fail with ENOSPC. A
number with a plus, as in ``2+``, lets all later calls fail, too: a disk that stays full. SIGKILL in place of an error
ends the job at that call, ``kill 0.5`` after half a second. ``memory 4`` leaves it 4 MiB more than it has at its start.
"""

import builtins
import errno
import fcntl
import fnmatch
import importlib
import io
import os
import resource
import signal
import threading
from pathlib import Path


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def install(fault):
    """Replace the call that ``fault`` names in this process, and in those that it forks."""
    if fault.startswith("kill "):
        threading.Timer(float(fault.split(" ")[1]), die).start()
        return
    if fault.startswith("memory "):
        mebibytes = int(fault.split(" ")[1])
        # Once its modules are there: Python itself has no sentence for a library that it cannot map.
        command_line = importlib.import_module("spine_models.command_line")
        run_stage = command_line.run_stage
        command_line.run_stage = lambda main: (limit_memory(mebibytes), run_stage(main))
        return
    call, name, which, pattern = fault.split(" ")
    first, lasting = int(which.rstrip("+")), which.endswith("+")
    count = [0]

    def strike(path):
        if not fnmatch.fnmatch(os.fspath(path), pattern):
            return
        count[0] += 1
        if count[0] == first or (lasting and count[0] > first):
            if name == "SIGKILL":
                die()
            number = getattr(errno, name)
            raise OSError(number, os.strerror(number), os.fspath(path))

    def before(owner, function, path_of):
        original = getattr(owner, function)

        def failing(*arguments, **named):
            path = path_of(*arguments, **named)
            if path is not None:
                strike(path)
            return original(*arguments, **named)

        setattr(owner, function, failing)

    if call == "open":
        for owner in (builtins, io, os):
            before(owner, "open", lambda file, *rest, **named: None if isinstance(file, int) else os.fsdecode(file))
    elif call == "rename":
        for function in ("rename", "replace"):
            before(os, function, lambda source, target, **named: os.fsdecode(target))
    elif call == "fsync":
        before(os, "fsync", path_of_descriptor)
    else:
        before(fcntl, "flock", lambda file, operation: path_of_descriptor(file))


def limit_memory(mebibytes):
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = held + (mebibytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def path_of_descriptor(file):
    return str(Path(f"/proc/self/fd/{file if isinstance(file, int) else file.fileno()}").readlink())
