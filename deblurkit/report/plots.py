"""Curves as SVG that takes its colours from the page."""

from __future__ import annotations

import io
import itertools
import math
import re
import warnings
from typing import TYPE_CHECKING

import numpy as np

from deblurkit.report.data import Curve, Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 400, 230
"""Units of a drawing: pixels of the page where it has the room."""
COLOURS = 6
"""Curve colours that the style sheet names; further curves repeat them with another dash."""
DASHES = ((), (6, 2), (2, 2), (7, 2, 2, 2))
MAX_POINTS = 400
"""Points of a curve that are drawn; more cannot be told apart at this size."""
_TOLD = 8
"""Curves that a text for the ear describes one by one."""

# colours that matplotlib writes and nobody would choose, to be replaced by the page's own
_INK, _GRID, _CURVE = "#0a0b0c", "#0a0b0d", "#0a0b1"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def curve_style(index: int) -> tuple[int, tuple[int, ...]]:
    """Number of the colour (from 1) and dash pattern of a curve."""
    return index % COLOURS + 1, DASHES[index // COLOURS % len(DASHES)]


def draw(plot: Plot, name: str) -> str:
    """Draw a plot as an SVG element without texts other than the numbers at its axes.

    Args:
        plot: What to draw. Curves without a single drawable point are left out.
        name: Prefix of all ids in it; the caller makes it unique within the page.

    Returns:
        The inner part of an ``svg`` element with the view box ``0 0 WIDTH HEIGHT``, or an empty string where there is
        no point to draw.
    """
    curves = [_points(curve, plot.log_y) for curve in plot.curves]
    if not any(np.isfinite(y).any() for _, y in curves):
        return ""
    import matplotlib.style
    from matplotlib.figure import Figure

    settings = {"svg.fonttype": "none", "svg.hashsalt": name}
    with matplotlib.style.context(["default", settings]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a range of one value, which is widened
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), facecolor="none")
        axes = figure.add_axes((52 / WIDTH, 26 / HEIGHT, 1 - 68 / WIDTH, 1 - 36 / HEIGHT), facecolor="none")
        _set_axes(axes, plot.log_y, curves)
        for index, (x, y) in enumerate(curves):
            colour, dash = curve_style(index)
            alone = np.isfinite(y).sum() == 1
            axes.plot(
                x, y, color=f"{_CURVE}{colour}", linewidth=1.5, marker="o" if alone else "", markersize=4,
                dashes=dash or (None, None),
            )  # fmt: skip
        written = io.StringIO()
        figure.savefig(
            written, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Type", "Format"))
        )
    return _for_page(written.getvalue(), name)


def description(plot: Plot) -> str:
    """What a plot shows, for those who don't see it."""
    parts = [f"Line plot of {plot.y_title} over {plot.x_title}{', logarithmic' if plot.log_y else ''}."]
    for curve in plot.curves[:_TOLD]:
        x, y = _points(curve, plot.log_y)
        shown = np.isfinite(y)
        if not shown.any():
            parts.append(f"{curve.label}: no values.")
            continue
        x, y = x[shown], y[shown]
        parts.append(
            f"{curve.label}: {y[0]:.4g} at {x[0]:g}, {y[-1]:.4g} at {x[-1]:g}, between {y.min():.4g} and {y.max():.4g}."
        )
    if len(plot.curves) > _TOLD:
        parts.append(f"And {len(plot.curves) - _TOLD} more curves.")
    return " ".join(parts)


def _points(curve: Curve, log: bool) -> tuple[np.ndarray, np.ndarray]:
    """The points of a curve that are worth drawing, NaN where there is a gap."""
    size = min(len(curve.x), len(curve.y))
    x = np.array([math.nan if v is None else v for v in curve.x[:size]], dtype=float)
    y = np.array([math.nan if v is None else v for v in curve.y[:size]], dtype=float)
    keep = np.isfinite(x)
    x, y = x[keep], y[keep]
    y[~np.isfinite(y) | ((y <= 0) & log)] = math.nan
    if y.size <= MAX_POINTS:
        return x, y
    # the lowest and the highest point of every stretch: peaks of a loss survive
    edges = np.linspace(0, y.size, MAX_POINTS // 2).astype(int)
    chosen = {0, y.size - 1}
    for start, stop in itertools.pairwise(edges):
        part = y[start:stop]
        if np.isfinite(part).any():
            chosen |= {start + int(np.nanargmin(part)), start + int(np.nanargmax(part))}
        else:
            chosen.add(int(start))
    order = sorted(chosen)
    return x[order], y[order]


def _set_axes(axes: Axes, log: bool, curves: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Two lines, few ticks, a quiet grid."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    power = False
    if log:
        values = np.concatenate([y[np.isfinite(y)] for _, y in curves])
        axes.set_yscale("log")
        spread = values.max() / values.min()
        power = spread > 100
        subs = (1.0,) if power else (1.0, 2.0, 5.0)
        axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=7) if spread > 4 else MaxNLocator(4))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.minorticks_off()
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value, power)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value, False)))
    axes.grid(True, axis="y", color=_GRID, linewidth=0.75)
    axes.tick_params(colors=_INK, labelsize=13, length=3, width=0.75)
    axes.tick_params(axis="y", length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_INK)
        spine.set_linewidth(0.75)
    axes.margins(x=0.02, y=0.06)


def _tick(value: float, power: bool) -> str:
    """The number at a tick, without any markup."""
    exponent = round(math.log10(abs(value))) if value else 0
    if power and value and math.isclose(abs(value), 10.0**exponent):
        return "10" + str(exponent).translate(_SUPERSCRIPTS)
    return f"{value:.6g}".replace("-", "−")


def _for_page(svg: str, name: str) -> str:
    """Take the drawing out of its document: own ids, the page's colours and font, nothing that names another file."""
    inner = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    inner = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", inner, flags=re.DOTALL)
    inner = re.sub(r'<g id="[^"]*">', "<g>", inner)  # names of axes and ticks, which nothing refers to
    inner = re.sub(r'\bid="', f'id="{name}-', inner)
    inner = re.sub(r"url\(#", f"url(#{name}-", inner)
    inner = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', inner)
    inner = re.sub(r"font: [^;\"]*|font-family: [^;\"]*; ", "", inner)
    inner = re.sub(r'\bd="[^"]*"', lambda path: re.sub(r"(\.\d)\d+", r"\1", path[0]), inner)
    inner = inner.replace(_INK, "currentColor").replace(_GRID, "var(--rule)")
    inner = re.sub(re.escape(_CURVE) + r"(\d)", r"var(--curve-\1)", inner)
    return re.sub(r"\s*\n\s*", "\n", inner).strip()
