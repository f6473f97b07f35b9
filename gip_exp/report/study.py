"""Groups, arms and cells, the contents of a table.

A *group* is one table, an *arm* a way to select, a *cell* an arm at one budget with its runs by seed. `arrange`
sorts runs into them.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gip_exp.report.names import FULL, UNTUNED, look, method_order, metric_order, model
from gip_exp.report.run import TOKENS, Answer, Run
from gip_exp.report.text import slugged

Settings = tuple[tuple[str, Any], ...]  # (key, value), sorted: the settings that differ


@dataclass(frozen=True)
class Arm:
    """A way to select: the selector (or `untuned`) and the settings that distinguish its variants."""

    method: str
    variant: Settings = ()

    @property
    def label(self) -> str:
        """Display name with the settings of the variant."""
        return look(self.method).label + shown(self.variant)

    @property
    def order(self) -> tuple[Any, ...]:
        """Sort key of tables and legends."""
        return (*method_order(self.method), repr(self.variant))


@dataclass(frozen=True, eq=False)
class Cell:
    """One arm at one budget: its runs by seed, newest first (several when they were evaluated separately)."""

    arm: Arm
    n_selected: int  # of the newest run; with a budget in tokens the seeds differ
    n_pool: int
    budget: int | float
    runs: Mapping[int, tuple[Run, ...]]
    unit: str = "rows"

    @property
    def size(self) -> tuple[str, int | float]:
        """What comparable cells share: the rows selected, or the budget in tokens."""
        return (TOKENS, self.budget) if self.unit == TOKENS else ("rows", self.n_selected)

    @property
    def share(self) -> float:
        """Budget as a share of the pool."""
        return float(self.budget) if isinstance(self.budget, float) else self.n_selected / self.n_pool

    @property
    def budget_label(self) -> str:
        """Budget as shown in tables: `10 %`, or `500 (5 %)` for a count."""
        if self.arm.method == UNTUNED:
            return "–"
        percent = f"{100 * self.share:.3g} %"
        if self.unit == TOKENS:
            return f"{percent} of tokens" if isinstance(self.budget, float) else f"{self.budget:,} tokens"
        return percent if isinstance(self.budget, float) else f"{self.n_selected:,} ({percent})"

    def all_runs(self) -> list[Run]:
        """Return the runs of all seeds."""
        return [run for seed in sorted(self.runs) for run in self.runs[seed]]

    def mean_of(self, number: Callable[[Run], float | None]) -> float:
        """Return the mean over the seeds of a number of the newest run; NaN if none has it."""
        found = [value for runs in self.runs.values() if (value := number(runs[0])) is not None]
        return sum(found) / len(found) if found else math.nan

    def answers(self, metric: str) -> dict[int, Mapping[str, Answer]]:
        """Return per-question answers by seed, from the newest run that has the metric."""
        found: dict[int, Mapping[str, Answer]] = {}
        for seed, runs in sorted(self.runs.items()):
            for run in runs:
                if metric in run.answers:
                    found[seed] = run.answers[metric]
                    break
        return found


@dataclass(frozen=True, eq=False)
class Group:
    """The runs of one table: experiment, model, training settings; cells in the order of the table."""

    experiment: str
    model: str
    setup: Settings
    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Heading of its tables and figures."""
        named = f" · {model(self.model)}" if self.uses_model else ""
        return f"{self.experiment}{named}{shown(self.setup)}"

    @property
    def uses_model(self) -> bool:
        """Whether a run tuned or evaluated the model; else its name says nothing about the runs."""
        runs = [run for cell in self.cells for run in cell.all_runs()]
        return any(run.answers or "train" in run.stages for run in runs)

    @property
    def slug(self) -> str:
        """Title as a name for files and anchors."""
        return slugged(self.title)

    @property
    def metrics(self) -> list[str]:
        """Names of its metrics, most important first."""
        names = {name for cell in self.cells for run in cell.all_runs() for name in run.answers}
        return sorted(names, key=metric_order)

    @property
    def budgets(self) -> list[float]:
        """Shares at which something was selected (not full, not the untuned base), ascending."""
        return sorted({cell.share for cell in self.selecting()})

    def selecting(self) -> list[Cell]:
        """Return the cells that select a part of the pool."""
        return [cell for cell in self.cells if cell.arm.method not in (FULL, UNTUNED)]

    def find(self, method: str, size: tuple[str, int | float] | None = None) -> Cell | None:
        """Return the cell of a method (of a size); of several variants, that with most seeds."""
        fitting = [c for c in self.cells if c.arm.method == method and size in (None, c.size)]
        return max(fitting, key=lambda cell: len(cell.runs), default=None)


def shown(settings: Settings) -> str:
    """Return settings as a suffix, ` [ridge=0.1, rubric=math]`, or an empty text."""
    if not settings:
        return ""
    return " [" + ", ".join(f"{key.partition('.')[2] or key}={value}" for key, value in settings) + "]"
