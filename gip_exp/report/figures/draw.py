"""The figures of a report: which ones a set of results gets, and writing them."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure as Drawing

from gip_exp.plotting import save
from gip_exp.report import names
from gip_exp.report.document import Figure
from gip_exp.report.figures import budget, mt_bench, subsets
from gip_exp.report.rows import Result
from gip_exp.report.study import Group
from gip_exp.report.subsets import average, overlaps
from gip_exp.report.text import slugged

# Drawn beside the headline of an experiment: the smooth companion of exact match.
COMPANION = "answer_nll/numbers"
BANDS = "Bands: one standard error over seeds (none with one seed)."
UNEVEN = (
    " Points of one panel are means over different seeds (see the tables), so compare the paired differences."
)
DOTS = "Bars: 95 % intervals as in the table. Small grey dots: single seeds."


Plan = tuple[str, str, Callable[[], Drawing]]  # slug, caption, how to draw it


def plan(groups: Sequence[Group], results: Sequence[Result]) -> dict[str, list[Plan]]:
    """Return the figures of these results by part of the report."""
    return {
        "results": [*_over_budgets(results), *_mt_bench(results), *_one_budget(results)],
        "subsets": [plan for group in groups for plan in _subsets(group)],
        "cost": [plan for group in groups for plan in _cost(group)],
    }


def draw(one: Plan, folder: Path) -> Figure:
    """Draw one figure and write it to `folder` as SVG and PDF."""
    name, caption, make = one
    return Figure(name, caption, save(make(), folder, name))


def _over_budgets(results: Sequence[Result]) -> list[Plan]:
    """Return one figure per headline metric, with a panel for every group with several budgets."""
    plans: list[Plan] = []
    metrics = dict.fromkeys(
        result.metric for result in results if _shown(result) and len(result.group.budgets) > 1
    )
    for metric in metrics:
        panels = [r for r in results if r.metric == metric and len(r.group.budgets) > 1]
        uneven = UNEVEN if any(map(_uneven, panels)) else ""
        caption = f"{names.metric(metric)} against the budget. {BANDS}{uneven}"
        plans.append((f"budget-{slugged(metric)}", caption, partial(budget.against_budget, panels)))
    return plans


def _uneven(result: Result) -> bool:
    """Whether the points of a panel are means over different seeds."""
    rows = [row for row in result.rows if row.cell.arm.method != names.UNTUNED]
    return len({tuple(row.summary.seeds) for row in rows}) > 1


def _one_budget(results: Sequence[Result]) -> list[Plan]:
    """Return one figure for every group with one budget: methods side by side."""
    plans: list[Plan] = []
    for group in {id(result.group): result.group for result in results}.values():
        panels = [r for r in results if r.group is group and _shown(r)]
        if len(group.budgets) <= 1 and panels:
            metrics = " and ".join(names.metric(panel.metric) for panel in panels)
            caption = f"{group.title}: {metrics} by method. {DOTS}"
            plans.append((f"methods-{group.slug}", caption, partial(budget.side_by_side, panels)))
    return plans


def _shown(result: Result) -> bool:
    """Whether a metric is worth a figure: its group's headline, or the companion."""
    return result.metric == result.group.metrics[0] or result.metric.partition(" [")[0] == COMPANION


def _mt_bench(results: Sequence[Result]) -> list[Plan]:
    panels = mt_bench.contrasts(results)
    if not panels:
        return []
    labels = {f"{panel.subset.arm.label} on {panel.subset.budget_label}" for panel in panels}
    caption = (
        f"MT-Bench by category: {', '.join(sorted(labels))} of the pool against the full data. "
        "Bars: 95 % intervals."
    )
    return [("mt-bench-categories", caption, partial(mt_bench.by_category, panels))]


def _subsets(group: Group) -> list[Plan]:
    plans: list[Plan] = []
    panels = overlaps(group)
    if panels:
        caption = (
            f"{group.title}: overlap of the selected rows (Jaccard index; same seed and budget, mean over "
            "seeds). Chance: two random subsets of that size."
        )
        plans.append((f"overlap-{group.slug}", caption, partial(subsets.overlap, panels)))
    labelled = [average(cell) for cell in group.cells if average(cell)]
    if labelled and all({"clean_share", "skill_entropy"} <= found.keys() for found in labelled):
        caption = f"{group.title}: quality and coverage of the subsets, mean over seeds."
        plans.append((f"quality-{group.slug}", caption, partial(subsets.quality, group)))
    return plans


def _cost(group: Group) -> list[Plan]:
    caption = f"{group.title}: cost of one run by stage without reuse (mean over runs)."
    return [(f"cost-{group.slug}", caption, partial(subsets.cost, group))]
