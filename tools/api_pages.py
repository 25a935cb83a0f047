"""Pages of the library and of the documents: ``make docs``.

    python -m tools.api_pages [--out build/docs/pages]

Every module of ``spine_models`` gets a page from its docstrings, by pdoc; README.md, CHANGELOG.md, CONTRIBUTING.md and
the pages of ``docs`` become HTML beside them. A warning of pdoc is an error.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import types
import warnings
from contextlib import suppress
from dataclasses import is_dataclass
from html import escape
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import walk_packages
from typing import get_type_hints

import spine_models
from spine_models.errors import UserError, run_command
from spine_models.log import show

ROOT = Path(__file__).resolve().parents[1]
TOOL = ROOT / "build/docs/tool"
DOCUMENTS = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/*.md")
_LINK = re.compile(r"(?<=\]\()(?!https?://|#)([^)#\s]+)(?=[)#])")
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>
<style>
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }}
pre, code {{ background: #f3f3f3; font-size: 0.9em; }} pre {{ padding: 0.6rem; overflow-x: auto; }}
table {{ border-collapse: collapse; }} td, th {{ border: 1px solid #ccc; padding: 0.2rem 0.5rem; }}
img {{ max-width: 100%; }}
</style></head>
<body><nav><a href="{up}index.html">All pages</a></nav>
{body}
</body>
</html>
"""


def main() -> None:
    """Write all pages.

    Raises:
        UserError: if pdoc is not there, or warns.
    """
    parser = argparse.ArgumentParser(prog="tools.api_pages", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build/docs/pages", help="folder, which is made anew")
    out = parser.parse_args().out
    if not (TOOL / "pdoc").is_dir():
        raise UserError("pdoc is not in build/docs/tool: run `make docs`")
    sys.path.append(str(TOOL))
    shutil.rmtree(out, ignore_errors=True)
    documents = [path.relative_to(ROOT) for pattern in DOCUMENTS for path in sorted(ROOT.glob(pattern))]
    said = write_modules(out)
    if said:
        raise UserError(f"pdoc says: {'; '.join(said)}")
    write_documents(ROOT, documents, out)
    write_index(documents, out)
    show(f"{len(list(out.rglob('*.html')))} pages: {out / 'index.html'}")


def write_modules(out: Path) -> list[str]:
    """Write the page of every module and return the warnings."""
    import pdoc

    _import_kernels()
    for name in module_names():
        _resolve_fields(import_module(name))
    pdoc.render.configure(docformat="google", footer_text="spine_models")
    # It hides a value that a variable of the environment happens to have (127.0.0.1); ours never come from there.
    os.environ["PDOC_DISPLAY_ENV_VARS"] = "1"
    # Imports warn of things that are not ours: only what the rendering says counts.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pdoc.pdoc("spine_models", output_directory=out)
    return [str(warning.message) for warning in caught if str(TOOL) in warning.filename]


def module_names() -> list[str]:
    """Return the names of all modules of the library but the one that is a command."""
    found = walk_packages(spine_models.__path__, "spine_models.")
    return sorted(module.name for module in found if not module.name.endswith(".__main__"))


def write_documents(root: Path, documents: list[Path], out: Path) -> None:
    """Write the Markdown files ``documents`` of ``root`` as HTML below ``out``.

    A link to one of the documents becomes one to its page; any other file that they link to is copied.
    """
    for document in documents:
        text = (root / document).read_text(encoding="utf-8")
        for target in sorted({match[1] for match in _LINK.finditer(text)}):
            file = (root / document.parent / target).resolve()
            if file.relative_to(root) not in documents:
                place = out / file.relative_to(root)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
        page = out / document.with_suffix(".html")
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(_page(root, document, documents, text), encoding="utf-8")


def write_index(documents: list[Path], out: Path) -> None:
    """Write the page that leads to all others."""
    links = [f'<li><a href="{path.with_suffix(".html")}">{escape(path.stem)}</a></li>' for path in documents]
    modules = '<p><a href="spine_models.html">The library, module by module</a></p>'
    body = f"<h1>spine_models</h1>\n{modules}\n<ul>\n" + "\n".join(links) + "\n</ul>"
    (out / "index.html").write_text(_PAGE.format(title="spine_models", up="", body=body), encoding="utf-8")


def _page(root: Path, document: Path, documents: list[Path], text: str) -> str:
    from pdoc.render_helpers import to_html

    def to_page(match: re.Match[str]) -> str:
        file = (root / document.parent / match[1]).resolve()
        return re.sub(r"\.md$", ".html", match[1]) if file in {root / path for path in documents} else match[1]

    body = to_html(_LINK.sub(to_page, text))
    up = "../" * (len(document.parts) - 1)
    return _PAGE.format(title=escape(document.stem), up=up, body=body)


def _resolve_fields(module: types.ModuleType) -> None:
    """Give the constructors that Python writes itself types in the place of texts, which pdoc looks up elsewhere."""
    for kind in list(vars(module).values()):
        if not isinstance(kind, type) or kind.__module__ != module.__name__:
            continue
        constructor = kind.__new__ if hasattr(kind, "_fields") else kind.__init__ if is_dataclass(kind) else None
        if constructor is not None:
            with suppress(NameError):  # imported for type checkers alone, which pdoc does too
                constructor.__annotations__ = get_type_hints(kind)


def _import_kernels() -> None:
    """Import the module with the kernels also where there is no GPU, hence no Triton: nothing is compiled here."""
    import torch  # noqa: F401  # which must not see the stand-in

    stand_ins = {}
    if find_spec("triton") is None:
        stand_ins = {name: types.ModuleType(name) for name in ("triton", "triton.language")}
        stand_ins["triton"].__dict__.update(jit=lambda function: function, language=stand_ins["triton.language"])
        stand_ins["triton.language"].__dict__.update(constexpr=int)
    sys.modules |= stand_ins
    try:
        import_module("spine_models.models.depthwise_kernels")
    finally:
        for name in stand_ins:
            del sys.modules[name]


if __name__ == "__main__":
    run_command(main)
