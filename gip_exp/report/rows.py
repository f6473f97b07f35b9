"""Rows of the result tables: mean of every cell and metric, and its paired differences to random and full.

A table is one group and one metric. Holm's correction covers all comparisons of a table, separately for each of
the two p-values.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from eval.paired import holm
from gip_exp.report.compare import Difference, Summary, difference, is_proportion, summarise
from gip_exp.report.names import FULL, RANDOM, UNTUNED
from gip_exp.report.study import Cell, Group


@dataclass(frozen=True)
class Comparison:
    """A cell against a reference (`random` at the same budget, or `full`), with p-values corrected over the table."""

    reference: str
    difference: Difference
    p_questions: float
    p_seeds: float  # NaN with one shared seed


@dataclass(frozen=True)
class Row:
    """One cell of one table."""

    cell: Cell
    summary: Summary
    comparisons: tuple[Comparison, ...]

    def against(self, reference: str) -> Comparison | None:
        """Return the comparison with a reference, if there is one."""
        return next((found for found in self.comparisons if found.reference == reference), None)


@dataclass(frozen=True)
class Result:
    """The table of one group and one metric; with `proportion`, outcomes are 0 and 1 and shown in percent."""

    group: Group
    metric: str
    proportion: bool
    rows: tuple[Row, ...]

    def row(self, cell: Cell) -> Row | None:
        """Return the row of a cell, if it has this metric."""
        return next((row for row in self.rows if row.cell is cell), None)


def make_result(group: Group, metric: str) -> Result:
    """Return all cells of `group` that have `metric`, compared and corrected."""
    rows = []
    for cell in group.cells:
        summary = summarise(cell.answers(metric))
        if summary is not None:
            rows.append(Row(cell, summary, _comparisons(group, cell, metric)))
    proportion = all(is_proportion(row.cell.answers(metric)) for row in rows)
    return Result(group, metric, proportion, _corrected(rows))


@lru_cache(maxsize=4096)
def paired(a: Cell, b: Cell, metric: str) -> Difference | None:
    """Return the paired difference of two cells; cached, because tables, figures and claims use the same ones."""
    return difference(a.answers(metric), b.answers(metric))


def reference_cell(group: Group, cell: Cell, reference: str) -> Cell | None:
    """Return the cell to compare with: random at the same budget, or full; None for itself and the untuned base."""
    if cell.arm.method in (UNTUNED, FULL) or cell.arm.method == reference:
        return None
    return group.find(reference, cell.size if reference != FULL else None)


def _comparisons(group: Group, cell: Cell, metric: str) -> tuple[Comparison, ...]:
    found = []
    for reference in (RANDOM, FULL):
        other = reference_cell(group, cell, reference)
        gap = paired(cell, other, metric) if other else None
        if gap is not None:
            found.append(Comparison(reference, gap, gap.p_questions, gap.p_seeds))
    return tuple(found)


def _corrected(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows with Holm-corrected p-values; a missing p-value (one seed) does not count as a comparison."""
    flat = [comparison for row in rows for comparison in row.comparisons]
    by_questions = iter(holm([c.difference.p_questions for c in flat]))
    by_seeds = iter(holm([c.difference.p_seeds for c in flat if not math.isnan(c.difference.p_seeds)]))
    corrected = iter(
        [
            replace(
                c,
                p_questions=next(by_questions),
                p_seeds=math.nan if math.isnan(c.p_seeds) else next(by_seeds),
            )
            for c in flat
        ]
    )
    return tuple(replace(row, comparisons=tuple(next(corrected) for _ in row.comparisons)) for row in rows)
