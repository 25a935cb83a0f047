"""Charts as SVG that take over the page's colours and letters and load nothing."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spine_models.inference.overlays import LEVEL_COLOURS
from spine_models.levels import LEVELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curves = Mapping[str, Sequence[tuple[float, float]]]
"""Name of a line to its points (x, y)."""

_INK = "#010203"
"""Stands for the colour of the page's letters until the SVG is finished."""
_BLUE = "#3b82c4"
_LINES = ("#3b82c4", "#d97706", "#0f9f6e", "#c0569b", "#7c6fd6", "#b08900", "#cf4b3c", "#5f8f9f")


def level_bars(values: Mapping[str, float | None], label: str, name: str) -> str:
    """Draw a bar for each level in the colour of its mask; levels without a value are left empty.

    Args:
        values: level to a share of 0 to 1.
        label: of the axis.
        name: unique on the page, for the identifiers inside the SVG.
    """

    def draw(axes: Axes) -> None:
        heights = [values.get(level) or 0.0 for level in LEVELS]
        colours = [tuple(part / 255 for part in colour) for colour in LEVEL_COLOURS]
        bars = axes.bar(LEVELS, heights, color=colours, width=0.7)
        texts = ["–" if values.get(level) is None else f"{values[level]:.2f}" for level in LEVELS]
        axes.bar_label(bars, texts, padding=2, color=_INK, fontsize=9)
        axes.set_ylim(0, 1.08)
        axes.set_ylabel(label)

    return _svg(draw, name)


def auc_bars(values: Mapping[str, float | None], intervals: Mapping[str, Sequence[float] | None], name: str) -> str:
    """Draw the AUC of each target as a point, its interval as a line, and a line for chance (0.5).

    Args:
        values: target to AUC, None where it is not defined.
        intervals: target to its lower and upper end, None likewise.
        name: unique on the page, for the identifiers inside the SVG.
    """

    def draw(axes: Axes) -> None:
        targets = list(values)[::-1]
        for row, target in enumerate(targets):
            value = values[target]
            if value is None:
                axes.text(0.51, row, "not defined", va="center", color=_INK, fontsize=9, alpha=0.7)
                continue
            axes.plot(intervals[target] or [value, value], [row, row], color=_BLUE, linewidth=2)
            axes.plot([value], [row], "o", color=_BLUE, markersize=7)
            axes.text(1.03, row, f"{value:.2f}", va="center", color=_INK, fontsize=9)
        axes.axvline(0.5, color=_INK, alpha=0.5, linewidth=1)
        axes.set_yticks(range(len(targets)), [target.replace("patient_overall", "patient") for target in targets])
        lowest = [end for interval in intervals.values() if interval for end in interval]
        axes.set_xlim(min([0.4, *(end - 0.03 for end in [*lowest, *values.values()] if end is not None)]), 1.12)
        axes.set_xticks([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
        axes.set_xlabel("AUC (0.5 is chance)")

    return _svg(draw, name)


def calibration_chart(tables: Mapping[str, Sequence[Mapping[str, float]]], name: str) -> str:
    """Draw observed frequency against mean predicted probability, with the diagonal of perfect calibration."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=_INK, alpha=0.4, linewidth=1, linestyle="--")
        for colour, (label, rows) in zip(_LINES, tables.items(), strict=False):
            axes.plot(
                [row["predicted"] for row in rows],
                [row["observed"] for row in rows],
                marker="o",
                color=colour,
                label=label,
            )
            for row in rows:
                place = (row["predicted"], row["observed"])
                axes.annotate(
                    f"n {row['n']:.0f}", place, (4, -11), textcoords="offset points", color=colour, fontsize=8
                )
        axes.set_xlim(0, 1.08)
        axes.set_ylim(-0.05, 1.05)
        axes.set_xlabel("predicted probability")
        axes.set_ylabel("observed frequency")
        _legend(axes)

    return _svg(draw, name)


def curves_chart(curves: Curves, x_label: str, y_label: str, name: str, markers: bool = True) -> str:
    """Draw one line for each entry of ``curves``."""

    def draw(axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        for index, (label, points) in enumerate(curves.items()):
            marker = "o" if markers and len(points) < 30 else None
            axes.plot(
                [x for x, _ in points],
                [y for _, y in points],
                marker=marker,
                markersize=3.5,
                color=_LINES[index % len(_LINES)],
                linestyle="-" if index < len(_LINES) else "--",
                label=label,
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        _legend(axes)

    return _svg(draw, name)


def _legend(axes: Axes) -> None:
    legend = axes.legend(frameon=False, fontsize=8)
    for text in legend.get_texts():
        text.set_color(_INK)


def _svg(draw: Callable[[Axes], None], name: str) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.family": "sans-serif",
        "font.size": 10,
        "text.color": _INK,
        "axes.edgecolor": _INK,
        "axes.labelcolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    stream = io.StringIO()
    with mpl.rc_context(settings):
        figure = Figure(figsize=(5.2, 3.0), layout="constrained")
        axes = figure.subplots()
        axes.grid(axis="y", color=_INK, alpha=0.12)
        axes.set_axisbelow(True)
        draw(axes)
        figure.savefig(stream, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator")))
    return _inline(stream.getvalue(), name)


def _inline(svg: str, name: str) -> str:
    """Keep only the drawing: no prolog, no metadata, the page's ink, identifiers that no other chart has."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*xmlns(:\w+)?=\"[^\"]*\"", "", svg)
    svg = svg.replace("xlink:href", "href").replace(_INK, "currentColor")
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1; font-family: inherit", svg)
    svg = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    return svg.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)
