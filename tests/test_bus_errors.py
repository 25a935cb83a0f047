"""A file that is cut off while a process reads it: one sentence with its name, no death without a word."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spine_models.bus_errors import sentence_on

READ = """
import os, sys
import numpy as np
from spine_models.errors import run_command

def main():
    array = np.load(sys.argv[1], mmap_mode="r")
    os.truncate(sys.argv[1], 4096)
    {reading}

run_command(main)
"""


@pytest.mark.parametrize(
    "reading",
    [
        "print(array.sum())",
        "import torch; torch.set_num_threads(2); print(torch.from_numpy(array).double().sum())",
        "import threading; t = threading.Thread(target=lambda: print(array.max())); t.start(); t.join()",
        # The end comes so late that all of them have met the file before it.
        "import threading, time; end = os._exit; os._exit = lambda status: (time.sleep(0.5), end(status))\n"
        "    for t in [threading.Thread(target=lambda: print(array.max())) for _ in range(8)]: t.start()",
        "if os.fork() == 0: print(array.sum())\n    else: os._exit(os.waitstatus_to_exitcode(os.wait()[1]))",
    ],
    ids=["numpy", "threads of torch", "another thread", "eight threads at once", "a child"],
)
def test_a_memory_map_whose_file_is_cut_off_is_named(tmp_path: Path, reading: str) -> None:
    file = tmp_path / "a study's volume.npy"
    np.save(file, np.ones((64, 64, 64), np.int16))
    script = READ.format(reading=reading)
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, file], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == (
        f"error: {file} was cut off or replaced while it was read, or its disk failed: run the same command again when "
        "nothing else writes there; it says how to repair what is damaged\n"
    )


def test_shared_memory_that_is_full_is_told_apart() -> None:
    assert "--shm-size" in sentence_on("/dev/shm/torch_17_3 (deleted)")
    assert sentence_on("").startswith("a file was cut off")
