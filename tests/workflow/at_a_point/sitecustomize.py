"""Imported at the start by every Python that has this folder on its path: what a job does when it touches a file.

``AT_A_POINT`` is JSON: ``script`` (the job), ``event`` ("open" to write, or "rename" to), ``name`` (how the file's name
ends), ``count`` (which such event), ``mark`` (a file that tells the test that the point was reached), and ``wait`` (a
file that lets the job go on; without it the job is killed by SIGKILL).
"""

import json
import os
import pathlib
import signal
import sys
import time


def _watch(point):
    count = [0]

    def hook(event, arguments):
        if event not in ("open", "os.rename"):
            return
        name = str(arguments[event == "os.rename"])
        writes = event == "os.rename" or bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if not (writes and event.endswith(point["event"]) and name.endswith(point["name"])):
            return
        count[0] += 1
        if count[0] != point["count"]:
            return
        pathlib.Path(point["mark"]).write_text(str(os.getpid()))
        if point["wait"] is None:
            os.kill(os.getpid(), signal.SIGKILL)
        while not pathlib.Path(point["wait"]).exists():
            time.sleep(0.05)

    sys.addaudithook(hook)


if "AT_A_POINT" in os.environ:
    _point = json.loads(os.environ["AT_A_POINT"])
    if f"workflow_scripts.{_point['script']}" in sys.orig_argv:
        _watch(_point)
