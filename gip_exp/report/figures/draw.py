"""Which figures a set of results gets, and writing them."""

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure as Drawing

from gip_exp.report import names
from gip_exp.report.document import Figure
from gip_exp.report.figures import budget
from gip_exp.report.figures.style import save
from gip_exp.report.rows import Result
from gip_exp.report.tables import slug, slugged

# Beside an experiment's headline, the smooth companion of exact match.
COMPANION = "answer_nll/numbers"
BANDS = "Bands: one standard error over seeds (none where there is one seed)."
DOTS = "Bars: 95 % intervals as in the table. Small grey dots: single seeds."


def draw(results: Sequence[Result], folder: Path) -> list[Figure]:
    """Write all figures to `folder` and return them with captions, Figure 1 first."""
    figures = []
    for slug_, caption, make in [*_over_budgets(results), *_one_budget(results)]:
        figures.append(Figure(slug_, caption, save(make(), folder, slug_)))
    return figures


Plan = tuple[str, str, Callable[[], Drawing]]


def _over_budgets(results: Sequence[Result]) -> list[Plan]:
    """A figure a headline metric, a panel for every group with several budgets."""
    plans = []
    metrics = dict.fromkeys(
        result.metric for result in results if _shown(result) and len(result.group.budgets) > 1
    )
    for metric in metrics:
        panels = [r for r in results if r.metric == metric and len(r.group.budgets) > 1]
        caption = f"{names.metric(metric)} against the budget. {BANDS}"
        plans.append(
            (f"budget-{slugged(metric)}", caption, lambda panels=panels: budget.against_budget(panels))
        )
    return plans


def _one_budget(results: Sequence[Result]) -> list[Plan]:
    """A figure for every group with one budget: methods side by side."""
    plans = []
    for group in {id(result.group): result.group for result in results}.values():
        panels = [r for r in results if r.group is group and _shown(r)]
        if len(group.budgets) <= 1 and panels:
            metrics = " and ".join(names.metric(panel.metric) for panel in panels)
            caption = f"{group.title}: {metrics} by method. {DOTS}"
            plans.append(
                (f"methods-{slug(group)}", caption, lambda panels=panels: budget.side_by_side(panels))
            )
    return plans


def _shown(result: Result) -> bool:
    """Whether a metric is worth a figure: its group's headline, or the companion."""
    return result.metric == result.group.metrics[0] or result.metric.partition(" [")[0] == COMPANION
