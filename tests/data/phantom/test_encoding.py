"""Compressed frames of phantoms."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

INTERRUPTED = """
import random, signal
import numpy as np
from pydicom.uid import JPEG2000Lossless
from spine_models.data.phantom.encoding import encoder

encode = encoder(JPEG2000Lossless, 16)
pixels = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32)
whole = encode(pixels)
random.seed(0)
caught = 0
signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
for _ in range(100):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 2e-3))
        for _ in range(50):
            assert encode(pixels) == whole
    except KeyboardInterrupt:
        caught += 1
print(caught)
"""


@pytest.mark.parametrize("handler", ["default_int_handler", "SIG_IGN"])
def test_ctrl_c_while_a_frame_is_compressed_ends_in_an_interrupt_or_in_nothing(handler):
    code = f"import signal\nsignal.signal(signal.SIGINT, signal.{handler})\n{INTERRUPTED}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    caught = int(done.stdout)
    assert caught > 75 if handler == "default_int_handler" else caught == 0
