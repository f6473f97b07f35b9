"""What the console shows: the headline table of every group, short, and where the report lies."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gip_exp.report import names, text
from gip_exp.report.names import FULL, RANDOM
from gip_exp.report.rows import Result, Row
from gip_exp.report.runs import Found


def headline(results: Sequence[Result]) -> list[Result]:
    """The first table of every group (its metrics are in order of importance)."""
    return list({id(result.group): result for result in reversed(results)}.values())[::-1]


def show(console: Console, found: Found, results: Sequence[Result], folder: Path) -> None:
    for result in headline(results):
        console.print(_table(result))
    for other in found.others:
        console.print(f"{other.status}: {other.folder} ({other.reason})", style="yellow", markup=False)
    files = ", ".join(path.name for path in sorted(folder.glob("report.*")))
    console.print(f"{text.count(len(found.runs), 'run')} reported; {folder}: {files}, figures/", markup=False)


def _table(result: Result) -> Table:
    title = f"{result.group.title}: {names.metric(result.metric)}{' (%)' if result.proportion else ''}"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("method")
    for heading in ("budget", "seeds", "mean", "95 % interval", "vs random", "p", "vs full", "p"):
        table.add_column(heading, justify="right")
    for row in result.rows:
        mean = row.summary.mean
        table.add_row(
            row.cell.arm.label,
            row.cell.budget_label,
            str(len(row.summary.seeds)),
            text.value(mean.value, result.proportion),
            text.interval(mean.low, mean.high, result.proportion),
            *_against(row, RANDOM, result.proportion),
            *_against(row, FULL, result.proportion),
        )
    if all(len(row.summary.seeds) == 1 for row in result.rows):
        table.caption = "one seed: intervals over questions only, none over seeds"
    else:
        table.caption = (
            "p: paired permutation over questions, Holm-corrected; the report has the one over seeds"
        )
    return table


def _against(row: Row, reference: str, proportion: bool) -> tuple[str, str]:
    found = row.against(reference)
    if found is None:
        return text.NONE, text.NONE
    return text.signed(found.difference.mean.value, proportion), text.p_value(found.p_questions)
