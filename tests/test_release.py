"""`make release` in a small repository of its own: what it writes, and that a refused release changes nothing."""

import datetime
import subprocess

import pytest

from tools.release import CHANGELOG, CITATION, PROJECT, ReleaseError, release

DAY = datetime.date(2026, 12, 1)
FILES = {
    CHANGELOG: "# Changelog\n\n## 0.2.0 (unreleased)\n\n* New.\n\n## 0.1.0 (2026-11-01)\n\n* First.\n",
    PROJECT: '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n\n'
    '[project]\nname = "small"\nversion = "0.1.0"\ndependencies = []\n\n[tool.setuptools]\npackages = ["small"]\n',
    CITATION: "cff-version: 1.2.0\nversion: 0.1.0\ndate-released: 2026-11-01\nlicense: Apache-2.0\n",
    "small/__init__.py": "",
    ".gitignore": "build/\ndist/\n*.egg-info/\n",
}


def git(root, *arguments):
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    git(tmp_path, "config", "user.name", "A. Person")
    git(tmp_path, "config", "user.email", "person@example.org")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "begin")
    return tmp_path


def state(root):
    refs = git(root, "show-ref")
    return refs, git(root, "status", "--porcelain"), {name: (root / name).read_text() for name in FILES}


def test_a_release(checkout):
    wheel = release(checkout, "0.2.0", DAY)
    assert wheel.name == "small-0.2.0-py3-none-any.whl"
    assert wheel.is_file()
    assert (checkout / CHANGELOG).read_text() == FILES[CHANGELOG].replace("unreleased", "2026-12-01")
    assert 'version = "0.2.0"' in (checkout / PROJECT).read_text()
    assert (checkout / CITATION).read_text() == (
        "cff-version: 1.2.0\nversion: 0.2.0\ndate-released: 2026-12-01\nlicense: Apache-2.0\n"
    )
    assert git(checkout, "status", "--porcelain") == ""
    assert git(checkout, "log", "-1", "--format=%s") == "Release 0.2.0\n"
    assert git(checkout, "rev-parse", "v0.2.0^{commit}") == git(checkout, "rev-parse", "HEAD")


def test_a_version_may_be_later_than_the_one_that_was_planned(checkout):
    release(checkout, "1.0.0", DAY)
    assert "## 1.0.0 (2026-12-01)" in (checkout / CHANGELOG).read_text()


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("", "VERSION is empty, which is not a version"),
        ("1.2", "VERSION 1.2 is not a version: give three numbers, such as 1.2.0"),
        ("v1.2.0", "VERSION v1.2.0 is not a version"),
        ("01.2.0", "VERSION 01.2.0 is not a version"),
        ("0.1.0", "VERSION 0.1.0 is not newer than 0.1.0, which was released"),
        ("0.0.9", "VERSION 0.0.9 is not newer than 0.1.0"),
    ],
)
def test_a_version_that_cannot_be(checkout, version, sentence):
    before = state(checkout)
    with pytest.raises(ReleaseError, match=sentence):
        release(checkout, version, DAY)
    assert state(checkout) == before


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        (CHANGELOG, FILES[CHANGELOG].replace("unreleased", "2026-11-20"), "the first section of CHANGELOG.md is not"),
        (CHANGELOG, FILES[CHANGELOG].replace("* New.\n", ""), "the unreleased section of CHANGELOG.md has no line"),
        (PROJECT, FILES[PROJECT].replace("version", "edition"), "pyproject.toml has 0 lines that state the version"),
        (PROJECT, FILES[PROJECT].replace('packages = ["small"]', 'packages = ["absent"]'), "the wheel could not be"),
    ],
)
def test_files_that_are_not_ready(checkout, name, text, sentence):
    (checkout / name).write_text(text)
    git(checkout, "commit", "--quiet", "--all", "--message", "change")
    before = state(checkout)
    with pytest.raises(ReleaseError, match=sentence):
        release(checkout, "0.2.0", DAY)
    assert state(checkout) == before


def test_a_tree_with_changes(checkout):
    (checkout / "small/__init__.py").write_text("changed = True\n")
    before = state(checkout)
    with pytest.raises(ReleaseError, match=r"small/__init__\.py is not committed"):
        release(checkout, "0.2.0", DAY)
    assert state(checkout) == before


def test_another_branch(checkout):
    git(checkout, "switch", "--quiet", "--create", "work")
    with pytest.raises(ReleaseError, match="this is the branch work: releases are made on main"):
        release(checkout, "0.2.0", DAY)


def test_a_tag_that_is_there(checkout):
    git(checkout, "tag", "v0.2.0")
    with pytest.raises(ReleaseError, match=r"the tag v0\.2\.0 is there already"):
        release(checkout, "0.2.0", DAY)


def test_a_hook_that_refuses_the_commit(checkout):
    hook = checkout / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no >&2\nexit 1\n")
    hook.chmod(0o755)
    before = state(checkout)
    with pytest.raises(ReleaseError, match="`git commit` failed: no"):
        release(checkout, "0.2.0", DAY)
    assert state(checkout) == before
