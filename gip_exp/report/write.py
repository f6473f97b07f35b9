"""From a folder of runs to the report's files."""

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from gip_exp.errors import UserError
from gip_exp.report import checks, csv_file, html, latex, layout, markdown, terminal
from gip_exp.report.arrange import make_study, name_metrics
from gip_exp.report.by_data import apart
from gip_exp.report.document import Document, Figure
from gip_exp.report.figures.draw import Plan, draw, plan
from gip_exp.report.rows import Result, make_result
from gip_exp.report.run import Found
from gip_exp.report.runs import read_runs
from gip_exp.report.verdicts import Verdict, decide_all
from gip_exp.storage.files import write_text

FIGURES = "figures"
NAMED = re.compile(rf"\]\({FIGURES}/([\w.-]+)\.svg\)")
T = TypeVar("T")


@dataclass(frozen=True)
class Report:
    """Everything computed from a folder of runs, and where it was written."""

    folder: Path
    found: Found
    results: tuple[Result, ...]
    verdicts: tuple[Verdict, ...]
    document: Document


def write_report(folder: Path, out: Path, console: Console | None = None) -> Report:
    """Read the runs below `folder`, write the report to `out` and print the short form.

    A previous report in `out` is replaced. Raises UserError for bad input (no runs, none finished, damaged files,
    mixed data or questions) and for an `out` that cannot be written.
    """
    console = console or Console(file=sys.stdout, highlight=False, soft_wrap=True)
    found = read_runs(folder)
    runs = name_metrics(apart(found.runs))
    checks.check(runs)
    groups = make_study(runs)
    tables = [(group, metric) for group in groups for metric in group.metrics]
    results = tuple(make_result(*table) for table in _tracked(tables, "comparing", console))
    verdicts = tuple(decide_all(groups))
    try:
        (out / FIGURES).mkdir(parents=True, exist_ok=True)
        figures = {
            part: _drawn(plans, out / FIGURES, console) for part, plans in plan(groups, results).items()
        }
        document = layout.make_document(found, groups, results, verdicts, figures, out=out)
        _write(document, results, out)
    except OSError as error:
        why = error.strerror or error
        raise UserError(
            f"cannot write the report to {out} ({why}): choose another folder with --out"
        ) from error
    terminal.show(console, found, results, verdicts, out)
    return Report(out, found, results, verdicts, document)


def _drawn(plans: Sequence[Plan], folder: Path, console: Console) -> list[Figure]:
    return [draw(one, folder) for one in _tracked(plans, "drawing", console)]


def _tracked(things: Sequence[T], title: str, console: Console) -> Iterable[T]:
    """Return the things under a transient progress bar; without a terminal, no bar."""
    return track(things, title, console=console, transient=True, disable=not console.is_terminal)


def _write(document: Document, results: Sequence[Result], out: Path) -> None:
    before = _figures(out)
    write_text(out / "report.md", markdown.render(document))
    write_text(out / "report.tex", latex.render(document))
    write_text(out / "report.html", html.render(document))
    write_text(out / "report.csv", csv_file.render(results))
    for name in before - _figures(out):  # of runs that are gone, or under a title that has changed
        for ending in ("svg", "pdf"):
            (out / FIGURES / f"{name}.{ending}").unlink(missing_ok=True)


def _figures(out: Path) -> set[str]:
    """Return the names of the figures in the report in `out`; empty if there is none."""
    page = out / "report.md"
    return set(NAMED.findall(page.read_text(encoding="utf-8", errors="replace"))) if page.is_file() else set()
