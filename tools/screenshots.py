"""Pictures of the pages of a finished run, for the README: ``make screenshots``.

    python -m tools.screenshots demo [--out docs/pictures]

Opens the list of predicted studies, the page of the most suspicious one and the report in Debian's Chromium, and writes
``list.png``, ``study.png`` and ``report.png``. Nothing is fetched: the pages refer to nothing outside.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

WIDTH, HEIGHT = 1280, 900
MOST_BYTES = 300_000
COLOURS = (256, 128, 64, 32)
"""Of palettes that are tried in turn where all colours take too much."""
_WAIT_MS = 120_000
_FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def small_png(png: bytes, most: int = MOST_BYTES) -> bytes:
    """Return a picture of at most ``most`` bytes, with fewer colours where that is needed.

    Raises:
        SystemExit: if the fewest colours are still too many.
    """
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    # Maximum coverage keeps the few pixels of a level's colour, which the median cut mixes with greys.
    fewer = (picture.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE) for colours in COLOURS)
    for shown in (picture, *fewer):
        stream = io.BytesIO()
        shown.save(stream, format="PNG", optimize=True)
        if stream.tell() <= most:
            return stream.getvalue()
    raise SystemExit(f"error: a picture of {picture.width} x {picture.height} takes more than {most} bytes")


def shoot(page: Page, run: Path, out: Path) -> list[Path]:
    """Write the three pictures and return their paths.

    Args:
        page: of the browser.
        run: ``output_dir`` of a finished run with predictions.
        out: folder of the pictures.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = []

    def write(name: str, height: int) -> None:
        # Pictures further down are loaded when somebody scrolls there.
        page.evaluate("document.querySelectorAll('img').forEach((image) => (image.loading = 'eager'))")
        page.wait_for_function("[...document.images].every((image) => image.complete && image.naturalWidth)")
        png = page.screenshot(clip={"x": 0, "y": 0, "width": WIDTH, "height": height}, full_page=True)
        path = out / f"{name}.png"
        path.write_bytes(small_png(png))
        written.append(path)

    page.goto((run / "predictions" / "index.html").resolve().as_uri())
    write("list", HEIGHT)
    study = page.locator("#studies > li").first.locator("h3 a").get_attribute("href")
    if study is None:
        raise SystemExit(f"error: {run} has no predicted study with a page: run `make demo` first")
    page.goto((run / "predictions" / study).resolve().as_uri())
    page.wait_for_selector("body[data-ready=yes]", state="attached", timeout=_WAIT_MS)
    # The last frame is drawn after the images are there.
    page.wait_for_timeout(1000)
    write("study", HEIGHT + 300)
    page.goto((run / "report" / "index.html").resolve().as_uri())
    write("report", 2 * HEIGHT)
    return written


def main() -> int:
    """Parse the arguments, start the browser and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="output_dir of a finished run")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    args = parser.parse_args()
    for page_file in ("predictions/index.html", "report/index.html"):
        if not (args.run / page_file).is_file():
            raise SystemExit(f"error: {args.run / page_file} is missing: run `make demo` first")
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("error: no chromium on this machine: install Debian's package")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        for path in shoot(page, args.run, args.out):
            print(f"{path}: {path.stat().st_size} bytes")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
