"""Overlap of the methods' subsets, their quality and coverage, and the cost of a run."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from gip_exp.plotting import INK, grid, styled
from gip_exp.report.figures.style import legend_of, mark_arm
from gip_exp.report.names import FULL, UNTUNED, stage_colour
from gip_exp.report.study import Arm, Cell, Group
from gip_exp.report.subsets import Overlap, average, costs, stage_seconds

MOST_BARS = 14  # beyond this the cost figure keeps the largest budget of every method


def overlap(panels: Sequence[Overlap]) -> Figure:
    """Draw lower triangles of the mean Jaccard index, one per budget, with the numbers in the cells."""
    with styled():
        columns = min(2, len(panels))
        lines = -(-len(panels) // columns)
        size = 0.36 * max(len(panel.arms) for panel in panels) + 1.2
        figure = Figure(figsize=((size + 0.5) * columns, size * lines + 0.2))
        axes = list(figure.subplots(lines, columns, squeeze=False).flat)
        for one, panel in zip(axes, panels, strict=False):
            labels = [arm.label for arm in panel.arms]
            triangle(one, labels, panel.values, f"{panel.label}, chance {panel.chance:.2f}")
        for one in axes[len(panels) :]:
            one.set_visible(False)
        return figure


def triangle(axes: Axes, labels: Sequence[str], values: np.ndarray, title: str) -> None:
    """Draw the lower triangle of a symmetric (m, m) matrix of overlaps with its numbers; NaN stays blank."""
    size = len(labels)
    shown = np.where(np.tril(np.ones((size, size)), -1) == 1, values, np.nan)[1:, :-1]
    axes.imshow(shown, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    for (i, j), value in np.ndenumerate(shown):
        if not np.isnan(value):
            colour = "white" if value > 0.55 else INK
            text = f"{value:.2f}".removeprefix("0") if value < 0.995 else "1"
            axes.text(j, i, text, ha="center", va="center", fontsize=7.5, color=colour)
    axes.set_xticks(range(size - 1), labels[:-1], rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size - 1), labels[1:])
    axes.set_title(title, fontweight="normal")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def quality(group: Group) -> Figure:
    """Draw clean share against the entropy of skills, one panel per budget; up and to the right is better."""
    with styled():
        cells = [cell for cell in group.cells if average(cell)]
        sizes = sorted({cell.size for cell in cells if cell.arm.method != FULL}) or [cells[0].size]
        columns = min(2, len(sizes))
        lines = -(-len(sizes) // columns)
        figure = Figure(figsize=(3.0 * columns + 0.6, 2.4 * lines + 0.6))
        panels = list(figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).flat)
        arms = sorted({cell.arm for cell in cells}, key=lambda arm: arm.order)
        for axes, size in zip(panels, sizes, strict=False):
            _scatter(axes, [c for c in cells if c.size == size or c.arm.method == FULL], arms)
        for axes in panels[len(sizes) :]:
            axes.set_visible(False)
        legend_of(figure, arms, solid=True)
        return figure


def _scatter(axes: Axes, cells: Sequence[Cell], arms: Sequence[Arm]) -> None:
    for cell in cells:
        found = average(cell)
        style = mark_arm(cell.arm, arms) | {"linestyle": "none", "markersize": 6.5}
        if cell.arm.method == FULL:
            style["marker"] = "o"
        axes.plot(found["skill_entropy"], 100 * found["clean_share"], **style, zorder=3)
    subsets = [cell for cell in cells if cell.arm.method != FULL]
    axes.set(xlabel="coverage: skill entropy (nats)", ylabel="quality: clean share (%)")
    axes.set_title((subsets or cells)[0].budget_label, fontweight="normal")
    axes.margins(0.12)
    axes.tick_params(labelbottom=True)  # also if there is no panel below
    grid(axes, "both")


def cost(group: Group) -> Figure:
    """Draw stacked bars: mean seconds of each stage of one run without reuse; `score/mixture` counts as `score`."""
    with styled():
        cells = _bars(group)
        stages = list(dict.fromkeys(found.stage.partition("/")[0] for found in costs(group)))
        seconds = [_by_group(stage_seconds(cell)) for cell in cells]
        unit, divisor = _unit(max(sum(of_cell.values()) for of_cell in seconds))
        figure = Figure(figsize=(5.6, 0.24 * len(cells) + 1.5))
        axes = figure.subplots()
        colours = [stage_colour(stage) for stage in stages]
        left = np.zeros(len(cells))
        for stage, colour in zip(stages, colours, strict=True):
            width = np.array([of_cell.get(stage, 0.0) for of_cell in seconds]) / divisor
            axes.barh(
                range(len(cells)),
                width,
                left=left,
                color=colour,
                edgecolor="white",
                linewidth=0.4,
                height=0.7,
            )
            left += width
        axes.set_yticks(range(len(cells)), [_bar_label(cell) for cell in cells])
        axes.invert_yaxis()
        axes.set(xlabel=f"{unit} per run, nothing reused", title=group.title)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.tick_params(axis="y", length=0)
        grid(axes, "x")
        patches = [Patch(color=colour, label=stage) for stage, colour in zip(stages, colours, strict=True)]
        columns = -(-len(patches) // -(-len(patches) // 5))  # rows of equal length, at most 5 columns
        figure.legend(handles=patches, loc="outside lower center", ncols=columns, handlelength=1.0)
        return figure


def _by_group(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return the sums over the stages of a group."""
    sums: dict[str, float] = {}
    for stage, took in seconds.items():
        name = stage.partition("/")[0]
        sums[name] = sums.get(name, 0.0) + took
    return sums


def _bars(group: Group) -> list[Cell]:
    cells = [cell for cell in group.cells if cell.all_runs()]
    if len(cells) <= MOST_BARS:
        return cells
    largest = {cell.arm: cell for cell in cells}  # cells of an arm ascend in size
    return list(largest.values())


def _bar_label(cell: Cell) -> str:
    return cell.arm.label if cell.arm.method in (FULL, UNTUNED) else f"{cell.arm.label}, {cell.budget_label}"


def _unit(most: float) -> tuple[str, float]:
    return ("seconds", 1.0) if most < 300 else ("minutes", 60.0) if most < 18_000 else ("hours", 3600.0)
