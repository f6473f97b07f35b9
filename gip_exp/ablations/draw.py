"""Parts shared by the figures of the ablations, in the style of all figures (`gip_exp.plotting`)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gip_exp.plotting import FAINT, PANEL, grid, legend_below
from gip_exp.report.figures.style import mark
from gip_exp.report.names import look

HEIGHT = 2.5  # inches, of one panel
FAINT_LINE: dict[str, Any] = {"color": FAINT, "linestyle": ":", "linewidth": 0.9, "zorder": 1}


def panels(count: int, *, legend: bool = True, width: float = PANEL) -> tuple[Figure, list[Axes]]:
    """Return a figure with a row of panels; call it inside `styled()`."""
    figure = Figure(figsize=(width * count, HEIGHT + (0.35 if legend else 0)))
    return figure, list(figure.subplots(1, count, squeeze=False).flat)


def line(
    axes: Axes,
    method: str,
    x: Sequence[float] | np.ndarray,
    y: Sequence[float] | np.ndarray,
    spread: Sequence[float] | np.ndarray | None = None,
) -> None:
    """Draw the line of a method with its colour and markers; `spread` is half the height of a band around it."""
    style = mark(look(method))
    axes.plot(x, y, **style, zorder=3)
    if spread is not None and np.any(np.asarray(spread) > 0):
        low, high = np.asarray(y) - spread, np.asarray(y) + spread
        axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)


def level(axes: Axes, method: str, y: float) -> None:
    """Draw a horizontal line for a method that does not depend on x, named at its right end."""
    axes.axhline(y, color=look(method).colour, linestyle=":", linewidth=1.0, zorder=1)
    axes.annotate(
        look(method).label.lower(),
        (1.0, y),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        xytext=(-2, 2),
        ha="right",
        fontsize=7.5,
        color=look(method).colour,
    )


def tidy(axes: Axes, xlabel: str, ylabel: str, title: str = "") -> None:
    """Set labels, title, grid and margins of a panel."""
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if title:
        axes.set_title(title, fontweight="normal")
    grid(axes, "both")
    axes.margins(0.06)


def log_with_zero(axes: Axes, values: Sequence[float]) -> None:
    """Make x logarithmic with ticks at the values; if they include 0, linear up to the smallest positive value."""
    values = sorted(set(values))
    smallest = min((value for value in values if value > 0), default=1.0)
    if 0 in values:
        axes.set_xscale("symlog", linthresh=smallest, linscale=0.5)
    else:
        axes.set_xscale("log")
    axes.set_xticks(values, [f"{value:g}".replace("0.", ".") for value in values])
    axes.minorticks_off()


def legend(figure: Figure, methods: Sequence[str], *, solid: bool = False) -> None:
    """Add a legend of methods below all panels; `solid` draws solid lines."""
    marks = [mark(look(method)) | ({"linestyle": "-"} if solid else {}) for method in methods]
    legend_below(figure, [(look(method).label, style) for method, style in zip(methods, marks, strict=True)])
