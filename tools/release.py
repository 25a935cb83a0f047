"""`make release VERSION=1.2.0` writes the version, commits, tags and builds the wheel. It pushes nothing.

    python -m tools.release VERSION

The first section of CHANGELOG.md must be the unreleased one, with what has changed. It gets the version and the day,
pyproject.toml and CITATION.cff get the version. Where anything is wrong, or the wheel cannot be built, the tree stays
as it was.
"""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

BRANCH = "main"
CHANGELOG, PROJECT, CITATION = "CHANGELOG.md", "pyproject.toml", "CITATION.cff"
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_SECTION = re.compile(r"^## (\S+) \((.+)\)$", re.MULTILINE)
_UNRELEASED = "unreleased"


class ReleaseError(Exception):
    """Why there is no release, as one sentence."""


def release(root: Path, version: str, day: datetime.date) -> Path:
    """Release the checkout ``root`` as ``version``; return the wheel.

    Raises:
        ReleaseError: if that cannot be; then nothing has changed.
    """
    _require_ready(root, version)
    before = {name: (root / name).read_text(encoding="utf-8") for name in (CHANGELOG, PROJECT, CITATION)}
    after = edited(before, version, day)
    try:
        _write(root, after)
        wheel = _built(root, version)
        _git(root, "commit", "--quiet", "--message", f"Release {version}", "--", *after)
        try:
            _git(root, "tag", "--annotate", f"v{version}", "--message", f"Release {version}")
        except ReleaseError:
            _git(root, "reset", "--quiet", "--soft", "HEAD~1")
            raise
    except BaseException:
        _write(root, before)
        _git(root, "reset", "--quiet", "--", *before)
        raise
    return wheel


def edited(files: Mapping[str, str], version: str, day: datetime.date) -> dict[str, str]:
    """Return the three files with the version and the day of a release.

    Args:
        files: name, one of ``CHANGELOG``, ``PROJECT`` and ``CITATION``, to text.
        version: of the release, newer than those released before.
        day: of the release.

    Raises:
        ReleaseError: if a file has no place for them, or says nothing of this release.
    """
    sections = list(_SECTION.finditer(files[CHANGELOG]))
    if not sections or sections[0][2] != _UNRELEASED:
        raise ReleaseError(f"the first section of {CHANGELOG} is not `## VERSION (unreleased)`: say there what changed")
    first, end = sections[0], sections[1].start() if len(sections) > 1 else None
    if not re.search(r"^\* ", files[CHANGELOG][first.end() : end], re.MULTILINE):
        raise ReleaseError(f"the unreleased section of {CHANGELOG} has no line `* ...`: say there what changed")
    released = [section[1] for section in sections[1:]]
    newest = max(released, key=_numbers, default=None)
    if newest is not None and _numbers(version) <= _numbers(newest):
        raise ReleaseError(f"VERSION {version} is not newer than {newest}, which was released: choose a later one")
    heading = f"## {version} ({day.isoformat()})"
    texts = dict(files)
    texts[CHANGELOG] = texts[CHANGELOG][: first.start()] + heading + texts[CHANGELOG][first.end() :]
    texts[PROJECT] = _replaced(PROJECT, texts[PROJECT], r'^version = ".*"$', f'version = "{version}"')
    dated = re.sub(r"^date-released: .*\n", "", texts[CITATION], flags=re.MULTILINE)
    stated = f"version: {version}\ndate-released: {day.isoformat()}"
    texts[CITATION] = _replaced(CITATION, dated, r"^version: .*$", stated)
    return texts


def _require_ready(root: Path, version: str) -> None:
    if not _VERSION.fullmatch(version):
        raise ReleaseError(
            f"VERSION {version or 'is empty, which'} is not a version: give three numbers, such as 1.2.0"
        )
    branch = _git(root, "rev-parse", "--abbrev-ref", "HEAD").strip()
    if branch != BRANCH:
        raise ReleaseError(
            f"this is the branch {branch}: releases are made on {BRANCH}, so `git switch {BRANCH}` first"
        )
    changed = _git(root, "status", "--porcelain").splitlines()
    if changed:
        raise ReleaseError(f"{changed[0][3:]} is not committed: commit or remove what has changed, then release")
    if _git(root, "tag", "--list", f"v{version}").strip():
        raise ReleaseError(f"the tag v{version} is there already: choose another VERSION")


def _replaced(name: str, text: str, pattern: str, by: str) -> str:
    replaced, count = re.subn(pattern, by, text, flags=re.MULTILINE)
    if count != 1:
        raise ReleaseError(f"{name} has {count} lines that state the version: it must have one")
    return replaced


def _numbers(version: str) -> tuple[int, ...]:
    if not _VERSION.fullmatch(version):
        raise ReleaseError(f"{CHANGELOG} has a section for {version}, which is not a version: give it three numbers")
    return tuple(int(part) for part in version.split("."))


def _write(root: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        (root / name).write_text(text, encoding="utf-8")


def _built(root: Path, version: str) -> Path:
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", "dist")
    built = subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "."], cwd=root, check=False)
    wheels = list((root / "dist").glob(f"*-{version}-*.whl"))
    if built.returncode or len(wheels) != 1:
        raise ReleaseError("the wheel could not be built, see above: nothing was released")
    return wheels[0]


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, check=False, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise ReleaseError(f"`git {arguments[0]}` failed: {said[-1] if said else 'without a word'}")
    return done.stdout


def main() -> int:
    """Release, or say in one sentence why not."""
    root = Path(__file__).parents[1]
    version = sys.argv[1] if len(sys.argv) == 2 else ""
    try:
        wheel = release(root, version, datetime.datetime.now(tz=datetime.UTC).date())
    except ReleaseError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    tag = f"v{version}"
    sys.stdout.write(
        f"{wheel.relative_to(root)} is built, {tag} is tagged; publish with `git push origin main {tag}`\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
