"""Write the hashes of every file that the lock may install: `make lock`, after a version in requirements.lock changed.

    python -m tools.lock UV

UV is the program that asks the package index. Only files for Linux and the supported Pythons get into the lock, so
that pip refuses whatever was never meant to be installed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[1] / "requirements.lock"
PYTHONS = ("cp311", "cp312", "cp313")
MACHINES = ("x86_64", "aarch64")
_PIN = re.compile(r"^[\w.-]+==[\w.+!-]+", re.MULTILINE)


def pins(lock: str) -> list[str]:
    """Return ``name==version`` of every package of a lock."""
    return _PIN.findall(lock)


def fits(wheel: str) -> bool:
    """Say whether the file name of a wheel is one for Linux (glibc) and a supported Python."""
    *_, interpreters, abis, platforms = wheel.removesuffix(".whl").split("-")
    if platforms == "any":
        return True
    stable = "abi3" in abis.split(".") and any(int(name[3:] or 0) <= 11 for name in interpreters.split("."))
    python = stable or bool({"py3", *PYTHONS} & set(interpreters.split(".")))
    free_threaded = abis.endswith("t")
    return python and not free_threaded and "linux" in platforms and "musl" not in platforms and (
        platforms.endswith(MACHINES)
    )  # fmt: skip


def hashes(package: dict[str, Any]) -> list[str]:
    """Return the SHA-256 of the wheels that fit; of the source where there is none."""
    wheels = package.get("wheels", [])
    found = [file for file in wheels if fits(file["url"].rsplit("/", 1)[1])] or [package["sdist"]]
    return sorted(file["hashes"]["sha256"] for file in found)


def locked(uv: str, lock: str) -> str:
    """Return the text of the lock with the hashes that the index has now."""
    with tempfile.TemporaryDirectory() as name:
        source, out = Path(name, "requirements.in"), Path(name, "pylock.toml")
        source.write_text("\n".join(pins(lock)) + "\n", encoding="utf-8")
        command = [uv, "pip", "compile", "--quiet", "--no-deps", "--universal", "--python-version", "3.11"]
        subprocess.run([*command, "--format", "pylock.toml", source, "--output-file", out], check=True)
        content = tomllib.loads(out.read_text(encoding="utf-8"))
    of_name = {_normal(package["name"]): hashes(package) for package in content["packages"]}
    lines = []
    for pin in sorted(pins(lock), key=str.lower):
        lines += [" \\\n    --hash=sha256:".join([pin, *of_name[_normal(pin.split("==")[0])]])]
    return "\n".join(lines) + "\n"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    LOCK.write_text(locked(sys.argv[1], LOCK.read_text(encoding="utf-8")), encoding="utf-8")
