"""Imported at the start by every Python that has this folder on its path: what a job does when it renames a file.

``AT_A_POINT`` is JSON: ``script`` (the job), ``name`` (how the name ends that a finished file is about to get),
``count`` (which such file), ``mark`` (a file that tells the test that the point was reached), and ``wait`` (a file that
lets the job go on; without it the job is killed by SIGKILL).
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
        if event != "os.rename" or not str(arguments[1]).endswith(point["name"]):
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
