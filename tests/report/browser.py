"""Debian's Chromium, driven by Playwright: pages as people see them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

AXE = Path(__file__).with_name("vendor") / "axe.min.js"
_WAIT_MS = 90_000
"""A software renderer on a busy machine is slow; nothing is timed by it."""
_FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


class Opened:
    """A page in the browser, with everything that it said and asked for."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, path: Path) -> None:
        """Open a file and wait until its viewer, if it has one, shows the images."""
        self.page.goto(path.as_uri())
        if self.page.query_selector("#viewer"):
            self.page.wait_for_selector("body[data-ready=yes]", state="attached", timeout=_WAIT_MS)

    def violations(self) -> list[tuple[str, str]]:
        """Return what axe-core calls serious or critical: rule and element."""
        self.page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
        found = self.page.evaluate("async () => (await axe.run()).violations")
        severe = [entry for entry in found if entry["impact"] in ("serious", "critical")]
        return [(entry["id"], node["html"][:200]) for entry in severe for node in entry["nodes"]]

    def scrolls_sideways(self) -> bool:
        """Whether the page is wider than the window."""
        return bool(self.page.evaluate("() => document.documentElement.scrollWidth > window.innerWidth"))


@contextmanager
def chromium() -> Iterator[Any]:
    """Start the browser; skip where there is none."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium on this machine: install Debian's package")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Any, width: int = 1400, theme: str = "light") -> Iterator[Opened]:
    """Open an empty page of a width in a theme, with a storage of its own."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, accept_downloads=True)
    try:
        yield Opened(context.new_page())
    finally:
        context.close()
