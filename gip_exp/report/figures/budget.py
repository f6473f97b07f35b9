"""Figure 1: a metric against the budget, one panel per group; with one budget, methods side by side instead."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from gip_exp.plotting import FAINT, PANEL, grid, styled
from gip_exp.report import names, text
from gip_exp.report.figures.style import legend_of, mark, mark_arm
from gip_exp.report.names import FULL, RANDOM, UNTUNED, look
from gip_exp.report.rows import Result, Row
from gip_exp.report.study import Arm

FAR = 0.6  # the untuned base is drawn only if it stretches the axis by less than this share


def axis_label(result: Result) -> str:
    """Return the metric with its unit, and its direction if small values are better."""
    if result.proportion:
        return f"{names.metric(result.metric)} (%)"
    return names.metric(result.metric) + (", lower is better" if names.lower_is_better(result.metric) else "")


def against_budget(results: Sequence[Result]) -> Figure:
    """Draw lines over the budget (log scale), bands of one standard error over seeds, full data as a level."""
    with styled():
        columns = min(2, len(results))
        lines = -(-len(results) // columns)
        figure = Figure(figsize=((PANEL + 0.3) * columns, 2.5 * lines + 0.5))
        panels = list(figure.subplots(lines, columns, squeeze=False).flat)
        found = {row.cell.arm for result in results for row in result.rows}
        lines_of = [arm for arm in found if arm.method not in (FULL, UNTUNED)]
        arms = sorted(lines_of, key=lambda arm: arm.order)
        for axes, result in zip(panels, results, strict=False):
            _panel(axes, result, arms)
        for axes in panels[len(results) :]:
            axes.set_visible(False)
        legend_of(figure, arms)
        return figure


def _panel(axes: Axes, result: Result, arms: Sequence[Arm]) -> None:
    scale = 100 if result.proportion else 1
    for arm in arms:
        rows = sorted((row for row in result.rows if row.cell.arm == arm), key=lambda row: row.cell.share)
        _line(axes, rows, mark_arm(arm, arms), scale)
    shares = result.group.budgets
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([100 * share for share in shares]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.3g}"))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set(
        xlabel="budget (% of the pool)",
        ylabel=axis_label(result).replace(", ", ",\n"),
        title=result.group.title,
    )
    axes.set_xlim(100 * shares[0] / 1.15, 100 * shares[-1] * 1.15)
    grid(axes, "y")
    _levels(axes, result, scale)


def _line(axes: Axes, rows: Sequence[Row], style: dict[str, Any], scale: float) -> None:
    x = [100 * row.cell.share for row in rows]
    y = np.array([row.summary.mean.value for row in rows]) * scale
    error = np.array([_over_seeds(row) for row in rows]) * scale
    axes.plot(x, y, **style, zorder=3)
    if len(rows) > 1:
        axes.fill_between(x, y - error, y + error, color=style["color"], alpha=0.12, linewidth=0, zorder=1)


def _over_seeds(row: Row) -> float:
    """Return the standard error of the mean over seeds; 0 (no band) with one seed."""
    means = row.summary.per_seed
    return float(np.std(means, ddof=1) / np.sqrt(len(means))) if len(means) > 1 else 0.0


def _levels(axes: Axes, result: Result, scale: float) -> None:
    """Draw the full data, and the untuned base unless it stretches the axis too far, named in the right margin."""
    bottom, top = axes.get_ylim()
    for row in result.rows:
        method = row.cell.arm.method
        height = row.summary.mean.value * scale
        stretch = max(bottom - height, height - top, 0.0)
        if method == FULL or (method == UNTUNED and stretch < FAR * (top - bottom)):
            style = look(method)
            axes.axhline(height, color=style.colour, linestyle=style.line, linewidth=1.1, zorder=2)
            label = "Full" if method == FULL else "Base"
            shown = text.value(row.summary.mean.value, result.proportion)
            axes.annotate(f"{label}\n{shown}", (1.01, height), xycoords=MARGIN, va="center", fontsize=7.5)


MARGIN = ("axes fraction", "data")  # x in panel widths, y in data: for labels beside the panel


def side_by_side(results: Sequence[Result]) -> Figure:
    """Draw one group at one budget, one row per method, with 95 % intervals and a small dot per seed.

    Panels: means of the first metric, its paired differences to random, means of the other metrics.
    """
    with styled():
        rows = max((result.rows for result in results), key=len)
        arms = [row.cell.arm for row in rows]
        paired = any(row.against(RANDOM) for row in results[0].rows)
        count = len(results) + paired
        figure = Figure(figsize=(2.55 * count + 1.1, 0.27 * len(rows) + 1.05))
        panels = list(figure.subplots(1, count, squeeze=False, sharey=True)[0])
        _means(panels[0], results[0], arms)
        if paired:
            _differences(panels[1], results[0], arms)
        for axes, result in zip(panels[1 + paired :], results[1:], strict=True):
            _means(axes, result, arms)
        panels[0].set_yticks(range(len(arms)), [arm.label for arm in arms])
        panels[0].set_ylim(len(arms) - 0.4, -0.6)
        figure.suptitle(results[0].group.title, x=0.01, ha="left", fontsize=9, fontweight="bold")
        return figure


def _means(axes: Axes, result: Result, arms: Sequence[Arm]) -> None:
    scale = 100 if result.proportion else 1
    for row in result.rows:
        place, mean = arms.index(row.cell.arm), row.summary.mean
        numbers = (mean.value, mean.low, mean.high)
        _dot(axes, place, row, numbers=numbers, per_seed=row.summary.per_seed, scale=scale)
        _beside(axes, place, text.value(mean.value, result.proportion))
    _finish(axes, axis_label(result))


def _differences(axes: Axes, result: Result, arms: Sequence[Arm]) -> None:
    scale = 100 if result.proportion else 1
    axes.axvline(0, color=look(RANDOM).colour, linestyle=look(RANDOM).line, linewidth=1, zorder=1)
    for row in result.rows:
        found = row.against(RANDOM)
        if found is not None:
            place, gap = arms.index(row.cell.arm), found.difference
            numbers = (gap.mean.value, gap.mean.low, gap.mean.high)
            _dot(axes, place, row, numbers=numbers, per_seed=gap.per_seed, scale=scale)
            _beside(axes, place, text.signed(gap.mean.value, result.proportion))
    _finish(axes, "paired difference to random" + (" (points)" if result.proportion else ""))


def _dot(
    axes: Axes,
    place: int,
    row: Row,
    *,
    numbers: tuple[float, float, float],
    per_seed: Sequence[float],
    scale: float,
) -> None:
    """Draw a mean with its interval on line `place`, and a small dot for every seed below it."""
    value, low, high = numbers
    style = mark(look(row.cell.arm.method)) | {"linestyle": "none"}
    if row.cell.arm.method == FULL:
        style["marker"] = "o"
    if not np.isnan(low):
        ends = [low * scale, high * scale]
        axes.plot(ends, [place] * 2, color=style["color"], linewidth=1.6, zorder=2)
    if len(per_seed) > 1:
        dots = np.array(per_seed) * scale
        axes.plot(dots, [place + 0.26] * len(dots), "o", color=FAINT, markersize=2.2, alpha=0.8, zorder=1)
    axes.plot([value * scale], [place], **style, zorder=3)


def _beside(axes: Axes, place: int, shown: str) -> None:
    axes.annotate(shown, (1.02, place), xycoords=MARGIN, va="center", fontsize=8)


def _finish(axes: Axes, label: str) -> None:
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    grid(axes, "x")
