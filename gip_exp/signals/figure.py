"""The figure of a signal table: the distribution of every column, and the correlations of the columns.

The colours of the correlations, from blue over white to red, are distinguishable for colour-blind readers.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gip_exp.plotting import FAINT, INK, grid, save, styled
from selection.signals import SignalTable

BAR = "#0072B2"  # Okabe and Ito's blue
WIDE, HIGH = 1.7, 1.5  # inches per distribution
PER_ROW = 4
FEW = 12  # up to so many distinct values, each has a bar
MOST_NUMBERS = 12  # columns; larger correlation matrices are drawn without numbers


def save_figure(folder: Path, slug: str, title: str, table: SignalTable, facts: dict[str, Any]) -> None:
    """Write `<slug>.svg`; no PDF, whose fonts would take longer than the rule judge."""
    with styled():
        drawn = figure(title, table, facts)
    save(drawn, folder, slug, pdf=False)


def figure(title: str, table: SignalTable, facts: dict[str, Any]) -> Figure:
    """Draw distributions and, for two or more columns, correlations; call inside `styled()`."""
    k = len(table.names)
    across = min(k, PER_ROW)
    down = -(-k // across)
    matrix_inches = 0 if k < 2 else max(2.4, 0.42 * k + 1.2)
    drawn = Figure(
        figsize=(WIDE * across + 0.4 + matrix_inches, max(HIGH * down, matrix_inches * 0.85) + 0.4)
    )
    drawn.suptitle(title, fontsize=9, fontweight="bold", x=0.01, ha="left")
    widths = [WIDE * across + 0.4, matrix_inches] if k > 1 else [1.0]
    parts = drawn.subfigures(1, len(widths), squeeze=False, width_ratios=widths)
    panels = list(parts[0, 0].subplots(down, across, squeeze=False).flat)
    for axes, name in zip(panels, table.names, strict=False):
        _distribution(axes, name, table.column(name))
    for axes in panels[k:]:
        axes.set_axis_off()
    if k > 1:
        _correlation(parts[0, 1].subplots(), list(table.names), facts["correlation"]["matrix"])
    return drawn


def _distribution(axes: Axes, name: str, values: np.ndarray) -> None:
    known = values[~np.isnan(values)]
    levels, counts = np.unique(known, return_counts=True)
    if 0 < len(levels) <= FEW:
        gap = float(np.diff(levels).min()) if len(levels) > 1 else 1.0
        axes.bar(levels, counts, width=0.8 * gap, color=BAR)
    elif len(levels):
        axes.hist(known, bins="auto" if len(known) < 1000 else 30, color=BAR)
    axes.set_title(name, fontweight="normal")
    axes.locator_params(nbins=4)
    if len(known):
        axes.axvline(float(known.mean()), color=INK, linewidth=0.9, linestyle="--")
    lost = len(values) - len(known)
    if lost:
        axes.annotate(f"{lost} unscored", (1, 1), xycoords="axes fraction", ha="right", va="top", color=FAINT)
    grid(axes, "y")


def _correlation(axes: Axes, names: list[str], matrix: list[list[float | None]]) -> None:
    values = np.array([[np.nan if cell is None else cell for cell in row] for row in matrix], dtype=float)
    size = len(names)
    edges = np.arange(size + 1) - 0.5
    axes.pcolormesh(edges, edges, values, cmap="RdBu_r", vmin=-1, vmax=1, edgecolors="white", linewidth=0.5)
    if size <= MOST_NUMBERS:
        for (i, j), value in np.ndenumerate(values):
            text = "–" if np.isnan(value) else f"{value:.2f}".replace("0.", ".", 1)
            axes.text(
                j, i, text, ha="center", va="center", fontsize=7, color="white" if abs(value) > 0.6 else INK
            )
    axes.set_xticks(range(size), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), names)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.tick_params(length=0)
    axes.set_title("Spearman correlation", fontweight="normal")
    for spine in axes.spines.values():
        spine.set_visible(False)
