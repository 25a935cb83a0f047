"""Templates to pages: everything that comes from data is escaped, nothing is fetched from elsewhere."""

from __future__ import annotations

import base64
from importlib import resources
from typing import Any
from urllib.parse import quote

from spine_models.levels import LEVELS
from spine_models.log import visible

_PACKAGE = "spine_models.report"


def render_page(template: str, **values: Any) -> str:
    """Fill a template of this package.

    Args:
        template: file name, ``*.html.j2``.
        values: what it shows; text is escaped and made visible (``log.visible``), ``markupsafe.Markup`` is not.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader(_PACKAGE, package_path="")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else visible(value),
    )
    environment.filters |= {"figure": figure_text, "percent": percent_text, "duration": duration_text, "path": quote}
    style = (resources.files(_PACKAGE) / "style.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(style=Markup(style), levels=LEVELS, **values)


def script_markup(name: str) -> Any:
    """Return a script of this package, to stand in a script element as it is."""
    from markupsafe import Markup

    return Markup(resources.files(_PACKAGE).joinpath(name).read_text(encoding="utf-8"))


def figure_text(value: float | None, digits: int = 3) -> str:
    """Write a figure, or a dash where it is not defined."""
    return "–" if value is None else f"{value:.{digits}f}"


def percent_text(value: float | None) -> str:
    """Write a share as a percentage, or a dash where it is not defined."""
    return "–" if value is None else f"{100 * value:.0f} %"


def duration_text(seconds: float) -> str:
    """Write a time for people: "12 s", "3 min 05 s", "2 h 04 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def png_uri(data: bytes) -> str:
    """Return a PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")
