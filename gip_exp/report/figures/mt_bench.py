"""Figure 2: MT-Bench per category, a small subset against the full data, one panel per group (cleaned or not)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gip_exp.plotting import grid, legend_below, styled
from gip_exp.report.figures.style import mark
from gip_exp.report.names import CATEGORIES, FULL, MT_BENCH, look
from gip_exp.report.rows import Result, Row
from gip_exp.report.study import Cell, Group

APART = 0.15  # of a line: distance of the two methods of a category from its line


@dataclass(frozen=True)
class Contrast:
    """MT-Bench results of a group: the cell of the subset (MP+SC at its smallest budget) and that of the full data."""

    group: Group
    subset: Cell
    full: Cell | None
    rows: tuple[tuple[str, Row | None, Row | None], ...]  # (category, subset, full)


def contrasts(results: Sequence[Result]) -> list[Contrast]:
    """Return one for every group with MT-Bench categories; cleaned data after the original."""
    groups = {id(result.group): result.group for result in results if _category(result)}
    found = [_contrast(group, [r for r in results if r.group is group]) for group in groups.values()]
    return sorted(
        (c for c in found if c is not None), key=lambda c: ("clean" in c.group.experiment, c.group.title)
    )


def _category(result: Result) -> str | None:
    name = result.metric.removeprefix(MT_BENCH)
    return name if result.metric.startswith(MT_BENCH) and name in CATEGORIES else None


def _contrast(group: Group, results: Sequence[Result]) -> Contrast | None:
    cells = [cell for cell in group.selecting() if cell.arm.method == "mp_sc"] or group.selecting()
    if not cells:
        return None
    subset = min(cells, key=lambda cell: (cell.arm.order, cell.n_selected))
    full = group.find(FULL)
    by_name = {result.metric.removeprefix(MT_BENCH): result for result in results}
    rows = [
        (category, by_name[category].row(subset), by_name[category].row(full) if full else None)
        for category in (*CATEGORIES, "all")
        if category in by_name
    ]
    return Contrast(group, subset, full, tuple(rows)) if any(row for _, row, _ in rows) else None


def by_category(panels: Sequence[Contrast]) -> Figure:
    """Draw one line per category with two marks and 95 % intervals; the mean over all questions below, separated."""
    with styled():
        lines = max(len(panel.rows) for panel in panels)
        figure = Figure(figsize=(3.1 * len(panels) + 0.7, 0.32 * lines + 1.2))
        row = figure.subplots(1, len(panels), squeeze=False, sharey=True, sharex=True)[0]
        for axes, panel in zip(row, panels, strict=True):
            _panel(axes, panel)
        categories = [category for category, *_ in max((panel.rows for panel in panels), key=len)]
        row[0].set_yticks(range(len(categories)), categories)
        row[0].set_ylim(len(categories) - 0.4, -0.6)
        shown = {_named(cell) for panel in panels for cell in (panel.subset, panel.full) if cell}
        ordered = sorted(shown, key=lambda pair: (pair[0] == FULL, pair))
        legend_below(figure, [(label, _dots(method)) for method, label in ordered])
        return figure


def _named(cell: Cell) -> tuple[str, str]:
    """Return the method and its name in the legend."""
    whole = cell.arm.method == FULL
    return cell.arm.method, cell.arm.label if whole else f"{cell.arm.label}, {cell.budget_label}"


def _panel(axes: Axes, panel: Contrast) -> None:
    for place, (category, subset, full) in enumerate(panel.rows):
        if category == "all":
            axes.axhline(place - 0.5, color="#BBBBBB", linewidth=0.8)
        for row, offset in ((subset, -APART), (full, APART)):
            if row is not None:
                _mark(axes, place + offset, row)
    axes.set(xlabel="MT-Bench score (1 to 10)", title=panel.group.title)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    grid(axes, "x")


def _dots(method: str) -> dict[str, Any]:
    """Return the marks of a method without a line; the full data, a line elsewhere, as a dot."""
    style = mark(look(method)) | {"linestyle": "none"}
    return style | {"marker": "o"} if method == FULL else style


def _mark(axes: Axes, place: float, row: Row) -> None:
    style = _dots(row.cell.arm.method)
    mean = row.summary.mean
    if not np.isnan(mean.low):
        axes.plot([mean.low, mean.high], [place] * 2, color=style["color"], linewidth=1.3, zorder=2)
    axes.plot([mean.value], [place], **style, zorder=3)
