"""Tables of the subsets by the measures of the selection report: lengths, mean scores, coverage, topics."""

from collections.abc import Mapping
from statistics import fmean

from gip_exp.report import text
from gip_exp.report.document import Column, Table
from gip_exp.report.study import Cell, Group


def measure_table(group: Group) -> Table | None:
    """Return the measures of each subset beside those of random subsets of its size; None if no run has them."""
    cells = [cell for cell in group.selecting() if _means(cell, "subset")]
    if not cells:
        return None
    names = list(dict.fromkeys(name for cell in cells for name in _means(cell, "subset")))
    columns = (
        Column("method", "left"),
        Column("budget"),
        Column("rows"),
        *(Column(part, group=name) for name in names for part in ("subset", "random")),
    )
    rows = []
    for cell in cells:
        subset, random = _means(cell, "subset"), _means(cell, "random")
        values = [_shown(part.get(name)) for name in names for part in (subset, random)]
        rows.append((cell.arm.label, cell.budget_label, f"{cell.n_selected:,}", *values))
    note = (
        "Means over seeds. Random: the mean of five random subsets of the same size. Coverage depends on the embedder. "
        "Each run folder has its selection.html."
    )
    title = f"{group.title}: the subsets beside random ones"
    return Table(f"{group.slug}-measures", title, columns, tuple(rows), (note,))


def _means(cell: Cell, part: str) -> dict[str, float]:
    """Return the mean over the cell's runs of each measure of the subset, or of random subsets."""
    values: dict[str, list[float]] = {}
    for run in cell.all_runs():
        measures: Mapping[str, Mapping[str, float | None]] = run.result.get("measures") or {}
        for name, measure in measures.items():
            value = measure.get(part)
            if value is not None:
                values.setdefault(name, []).append(value)
    return {name: fmean(found) for name, found in values.items()}


def _shown(value: float | None) -> str:
    return text.NONE if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
