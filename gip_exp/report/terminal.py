"""Console output of the report: the headline table of every group, and where the report is."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gip_exp.errors import printable
from gip_exp.report import names, text
from gip_exp.report.names import FULL, RANDOM
from gip_exp.report.rows import Result, Row
from gip_exp.report.run import Found
from gip_exp.report.verdicts import Verdict

SIGNIFICANT = 0.05


def headline(results: Sequence[Result]) -> list[Result]:
    """Return the first table of every group (its metrics are in order of importance)."""
    return list({id(result.group): result for result in reversed(results)}.values())[::-1]


def show(
    console: Console, found: Found, results: Sequence[Result], verdicts: Sequence[Verdict], folder: Path
) -> None:
    """Print headline tables, the tally of the paper's claims, and runs without numbers."""
    for result in headline(results):
        console.print(_table(result))
        console.print(f"[dim]{_legend(result)}[/dim]")
    if any(run.answers for run in found.runs):
        tally = Counter(verdict.verdict for verdict in verdicts)
        console.print(
            "the paper's claims: " + ", ".join(f"{number} {verdict}" for verdict, number in tally.items())
        )
    for other in found.others:
        line = printable(f"{other.status}: {other.folder} ({other.reason})")
        console.print(line, style="yellow", markup=False)
    console.print(
        f"{text.count(len(found.runs), 'run')} reported in {folder}: report.html, .md, .tex, .csv and figures/",
        markup=False,
    )


def _table(result: Result) -> Table:
    unit = " (%)" if result.proportion else ""
    title = _plain(f"{result.group.title}: {names.metric(result.metric)}{unit}")
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("method", no_wrap=True)
    for heading in ("budget", "seeds", "mean", "95 % interval", "vs random", "vs full"):
        table.add_column(heading, justify="right", no_wrap=True)
    previous = None
    for row in result.rows:
        mean, label = row.summary.mean, row.cell.arm.label
        table.add_row(
            "" if label == previous else _plain(label),
            row.cell.budget_label,
            str(len(row.summary.seeds)),
            text.value(mean.value, result.proportion),
            text.interval(mean.low, mean.high, result.proportion),
            _against(row, RANDOM, result.proportion),
            _against(row, FULL, result.proportion),
        )
        previous = label
    return table


def _plain(name: str) -> str:
    """Return a name from a result as text without markup or control characters."""
    return escape(printable(name))


def _legend(result: Result) -> str:
    if all(len(row.summary.seeds) == 1 for row in result.rows):
        intervals = "one seed: intervals over questions only, none over seeds"
    else:
        intervals = "intervals over seeds and questions (one seed: questions only)"
    return f"{intervals}; * p < .05 over questions, Holm-corrected"


def _against(row: Row, reference: str, proportion: bool) -> str:
    found = row.against(reference)
    if found is None:
        return f"{text.NONE} "
    star = "*" if found.p_questions < SIGNIFICANT else " "
    return text.signed(found.difference.mean.value, proportion) + star
