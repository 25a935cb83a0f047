"""The command that serves pages: its address, its end, and a folder without pages."""

import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from spine_models.commands.view import view
from spine_models.errors import UserError


def test_a_folder_without_pages(tmp_path):
    with pytest.raises(UserError, match=r"has no index\.html: give the --out"):
        view(tmp_path)


RUN = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from spine_models.commands.app import main; main(sys.argv[1:])"
)
"""Ctrl-C is ignored in what a shell started in the background, and in everything that this starts."""


def test_it_says_where_and_ends_with_ctrl_c(tmp_path):
    (tmp_path / "index.html").write_text("<p>index")
    command = [sys.executable, "-u", "-c", RUN, "view", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().strip()
        assert "Ctrl-C ends it" in process.stdout.readline()
        with urllib.request.urlopen(address, timeout=60) as answer:
            assert answer.read() == b"<p>index"
        os.kill(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    assert process.returncode == 0
    assert output == "ended\n"
    assert errors == ""
