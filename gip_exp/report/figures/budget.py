"""Figure 1: a metric against the budget, a panel a group; with a single budget, methods side by side instead."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from gip_exp.report import names, text
from gip_exp.report.figures.style import FAINT, PANEL, grid, legend_below, mark, styled
from gip_exp.report.names import FULL, UNTUNED, look
from gip_exp.report.rows import Result, Row
from gip_exp.report.study import Arm

FAR = 0.6  # the untuned base is drawn only if it stretches the axis by less than this share


def axis_label(result: Result) -> str:
    unit = (
        " (%)" if result.proportion else ", lower is better" if names.lower_is_better(result.metric) else ""
    )
    return names.metric(result.metric) + unit


def against_budget(results: Sequence[Result]) -> Figure:
    """Lines over the budget (log scale), bands of one standard error over seeds, the full data as a horizontal line."""
    with styled():
        columns = min(2, len(results))
        lines = -(-len(results) // columns)
        figure = Figure(figsize=(PANEL * columns + 0.4, 2.5 * lines + 0.5))
        panels = figure.subplots(lines, columns, squeeze=False).flat
        arms: dict[Arm, None] = {}
        for axes, result in zip(panels, results, strict=False):
            arms |= dict.fromkeys(_panel(axes, result))
        for axes in list(panels)[len(results) :]:
            axes.set_visible(False)
        ordered = sorted(arms, key=lambda arm: arm.order)
        legend_below(figure, [arm.method for arm in ordered], [arm.label for arm in ordered])
        return figure


def _panel(axes: Axes, result: Result) -> list[Arm]:
    scale = 100 if result.proportion else 1
    by_arm: dict[Arm, list[Row]] = {}
    for row in result.rows:
        if row.cell.arm.method not in (FULL, UNTUNED):
            by_arm.setdefault(row.cell.arm, []).append(row)
    for arm, rows in by_arm.items():
        _line(axes, arm, sorted(rows, key=lambda row: row.cell.share), scale)
    shares = result.group.budgets
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([100 * share for share in shares]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.3g}"))
    axes.set(xlabel="budget (% of the pool)", ylabel=axis_label(result), title=result.group.title)
    axes.set_xlim(100 * shares[0] / 1.15, 100 * shares[-1] * 1.15)
    grid(axes, "y")
    _horizontals(axes, result, scale)
    return list(by_arm)


def _line(axes: Axes, arm: Arm, rows: Sequence[Row], scale: float) -> None:
    style = mark(look(arm.method))
    x = [100 * row.cell.share for row in rows]
    y = np.array([row.summary.mean.value for row in rows]) * scale
    error = np.array([_over_seeds(row) for row in rows]) * scale
    axes.plot(x, y, **style, zorder=3)
    if len(rows) > 1:
        axes.fill_between(x, y - error, y + error, color=style["color"], alpha=0.14, linewidth=0, zorder=1)


def _over_seeds(row: Row) -> float:
    """Standard error of the mean over seeds; 0 (no band) with one seed."""
    means = row.summary.per_seed
    return float(np.std(means, ddof=1) / np.sqrt(len(means))) if len(means) > 1 else 0.0


def _horizontals(axes: Axes, result: Result, scale: float) -> None:
    """The full data, and the base where it does not squeeze everything else."""
    bottom, top = axes.get_ylim()
    for row in result.rows:
        method = row.cell.arm.method
        height = row.summary.mean.value * scale
        stretch = max(bottom - height, height - top, 0.0)
        if method == FULL or (method == UNTUNED and stretch < FAR * (top - bottom)):
            axes.axhline(
                height, color=look(method).colour, linestyle=look(method).line, linewidth=1.1, zorder=2
            )
            axes.annotate(
                f"{look(method).label} {text.value(row.summary.mean.value, result.proportion)}",
                (1.0, height),
                xycoords=("axes fraction", "data"),
                xytext=(-2, 2.5),
                textcoords="offset points",
                ha="right",
                va="bottom",
                fontsize=7.5,
                color=look(method).colour,
            )


def side_by_side(results: Sequence[Result]) -> Figure:
    """One budget: a row a method, its mean with the 95 % interval, a faint dot a seed. A panel a metric, same group."""
    with styled():
        rows = max((result.rows for result in results), key=len)
        figure = Figure(figsize=(PANEL * len(results) + 1.2, 0.27 * len(rows) + 1.0))
        panels = figure.subplots(1, len(results), squeeze=False, sharey=True)[0]
        arms = [row.cell.arm for row in rows]
        for axes, result in zip(panels, results, strict=True):
            _dots(axes, result, arms)
        panels[0].set_yticks(range(len(arms)), [arm.label for arm in arms])
        panels[0].invert_yaxis()
        panels[0].set_title(results[0].group.title)
        return figure


def _dots(axes: Axes, result: Result, arms: Sequence[Arm]) -> None:
    scale = 100 if result.proportion else 1
    for row in result.rows:
        place, style = arms.index(row.cell.arm), mark(look(row.cell.arm.method)) | {"linestyle": "none"}
        mean = row.summary.mean
        if row.cell.arm.method == FULL:
            style["marker"] = "o"
        if not np.isnan(mean.low):
            axes.plot(
                [mean.low * scale, mean.high * scale],
                [place] * 2,
                color=style["color"],
                linewidth=1.6,
                zorder=2,
            )
        if len(row.summary.per_seed) > 1:
            dots = np.array(row.summary.per_seed) * scale
            axes.plot(dots, [place + 0.24] * len(dots), "o", color=FAINT, markersize=2.2, alpha=0.8, zorder=1)
        axes.plot([mean.value * scale], [place], **style, zorder=3)
        axes.annotate(
            text.value(mean.value, result.proportion),
            (1.01, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
        )
    axes.set_xlabel(axis_label(result))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    grid(axes, "x")
