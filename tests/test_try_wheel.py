"""What tries the wheel on other Pythons finds them, installs as README says and takes the network away."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools.try_wheel import VERSIONS, commands_of_readme, found_pythons, isolation


@pytest.fixture
def others(tmp_path, monkeypatch):
    """The supported versions but this one; nothing but two empty folders is searched for them."""
    monkeypatch.setenv("PATH", str(tmp_path / "shims"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    return [version for version in VERSIONS if version != f"{sys.version_info.major}.{sys.version_info.minor}"]


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_nothing_is_found_where_no_other_python_is(others):
    assert found_pythons() == []


def test_a_python_on_the_path_comes_before_one_of_pyenv(others, tmp_path):
    for version in others:
        program(tmp_path / "shims" / f"python{version}", "exit 0")
        program(tmp_path / f"pyenv/versions/{version}.4/bin/python{version}", "exit 0")
    assert found_pythons() == [f"python{version}" for version in others]


def test_a_python_that_refuses_to_start_gives_way_to_one_of_pyenv(others, tmp_path):
    expected = []
    for version in others:
        program(tmp_path / "shims" / f"python{version}", "exit 127")
        expected.append(program(tmp_path / f"pyenv/versions/{version}.4/bin/python{version}", "exit 0"))
    assert found_pythons() == expected


def test_the_commands_of_readme_install_the_given_wheel_and_the_three_beside_it():
    first, second = commands_of_readme(Path("/somewhere/else.whl"))
    assert first == ["install", "/somewhere/else.whl"]
    assert second[:2] == ["install", "--no-deps"]
    assert len(second) == 5


def test_no_connection_leaves_the_isolation():
    words = isolation()
    if not words:
        pytest.skip("this machine lets no user make a network of his own")
    # An address for documentation: without network the system refuses at once, with one nobody answers.
    reach = "import errno, socket; assert socket.socket().connect_ex(('192.0.2.1', 9)) == errno.ENETUNREACH"
    assert subprocess.run([*words, sys.executable, "-c", reach], check=False).returncode == 0
