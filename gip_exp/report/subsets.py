"""Quality and coverage of subsets, overlap between methods, and seconds by stage."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gip_exp.report.names import UNTUNED, stage_order
from gip_exp.report.study import Arm, Cell, Group


def category_shares(cells: Sequence[Cell]) -> dict[str, dict[str, list[float]]]:
    """Return the shares of the values of each text column in the pool and in the subsets.

    Args:
        cells: Cells of one group.

    Returns:
        Column -> value -> its share of the pool, then of the subset of each cell (mean over seeds, NaN if unknown).
    """
    known: dict[str, dict[str, int]] = {}
    for cell in cells:
        for runs in cell.runs.values():
            for column, values in runs[0].categories.items():
                known.setdefault(column, {value: counts["pool"] for value, counts in values.items()})
    pools = [run[0].result.get("n_pool") for cell in cells for run in cell.runs.values()]
    n_pool = max((n for n in pools if n), default=0)
    return {
        column: {
            value: [count / max(n_pool, 1), *(_share(cell, column, value) for cell in cells)]
            for value, count in counts.items()
        }
        for column, counts in known.items()
    }


def _share(cell: Cell, column: str, value: str) -> float:
    found = [
        runs[0].categories[column][value]["selected"] / cell.n_selected
        for runs in cell.runs.values()
        if value in runs[0].categories.get(column, {}) and cell.n_selected
    ]
    return float(np.mean(found)) if found else math.nan


@dataclass(frozen=True)
class Overlap:
    """Mean Jaccard index of the selected ids between arms at one budget, over the seeds that a pair shares.

    Attributes:
        group: the group.
        n_selected: rows selected.
        label: the budget as shown.
        arms: m arms.
        values: (m, m), NaN where two arms share no seed.
        seeds: (m, m), number of shared seeds.
        chance: expected index of two random subsets of this size, b / (2 - b) for a share b of the pool.
    """

    group: Group
    n_selected: int
    label: str
    arms: tuple[Arm, ...]
    values: np.ndarray
    seeds: np.ndarray
    chance: float


@dataclass(frozen=True)
class StageCost:
    """Cost of a stage over all runs of a group.

    Attributes:
        stage: its name.
        used: runs that use it.
        made: distinct outputs.
        each: mean seconds per output.
        total: seconds of all outputs, each counted once.
    """

    stage: str
    used: int
    made: int
    each: float
    total: float


def average(cell: Cell) -> dict[str, float]:
    """Return the description of the subset by labels (`clean_share`, `skill_entropy`, ...), averaged over seeds."""
    if cell.arm.method == UNTUNED:
        return {}
    found = [runs[0].subset for runs in cell.runs.values() if runs[0].subset]
    names = [name for name in (found[0] if found else {}) if all(name in subset for subset in found)]
    return {name: float(np.mean([subset[name] for subset in found])) for name in names}


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Return |a and b| / |a or b| of two sets that are not both empty."""
    return len(a & b) / len(a | b)


def overlaps(group: Group) -> list[Overlap]:
    """Return a matrix for every budget at which at least two arms selected something."""
    found = []
    for size in sorted({cell.size for cell in group.selecting()}):
        cells = [cell for cell in group.selecting() if cell.size == size and _ids(cell)]
        if len(cells) > 1:
            found.append(_overlap(group, cells))
    return found


def _overlap(group: Group, cells: Sequence[Cell]) -> Overlap:
    size = len(cells)
    values, seeds = np.full((size, size), np.nan), np.zeros((size, size), dtype=int)
    for i, a in enumerate(cells):
        for j, b in enumerate(cells):
            ours, theirs = _ids(a), _ids(b)
            shared = sorted(set(ours) & set(theirs))
            seeds[i, j] = len(shared)
            if shared:
                values[i, j] = np.mean([jaccard(ours[seed], theirs[seed]) for seed in shared])
    share = cells[0].n_selected / cells[0].n_pool
    arms = tuple(cell.arm for cell in cells)
    return Overlap(
        group, cells[0].n_selected, cells[0].budget_label, arms, values, seeds, share / (2 - share)
    )


def _ids(cell: Cell) -> Mapping[int, frozenset[str]]:
    return {seed: runs[0].selected for seed, runs in cell.runs.items() if runs[0].selected}


def costs(group: Group) -> list[StageCost]:
    """Return seconds by stage; an output that several runs share counts once in `total`."""
    found: dict[str, dict[str, float]] = {}
    used: dict[str, int] = {}
    for cell in group.cells:
        for run in cell.all_runs():
            for stage, facts in run.stages.items():
                found.setdefault(stage, {})[str(facts["key"])] = float(facts["seconds"])
                used[stage] = used.get(stage, 0) + 1
    order = sorted(found, key=stage_order)
    return [
        StageCost(
            stage,
            used[stage],
            len(found[stage]),
            float(np.mean(list(found[stage].values()))),
            sum(found[stage].values()),
        )
        for stage in order
    ]


def stage_seconds(cell: Cell) -> dict[str, float]:
    """Return mean seconds of each stage over the runs of a cell: the cost of one run without reuse."""
    seconds: dict[str, list[float]] = {}
    for run in cell.all_runs():
        for stage, facts in run.stages.items():
            seconds.setdefault(stage, []).append(float(facts["seconds"]))
    return {stage: float(np.mean(of_stage)) for stage, of_stage in seconds.items()}
