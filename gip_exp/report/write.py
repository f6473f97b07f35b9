"""From a folder of runs to the report's files."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from gip_exp.errors import UserError
from gip_exp.report import checks, csv_file, layout, markdown, terminal
from gip_exp.report.figures.draw import draw
from gip_exp.report.rows import Result, make_results
from gip_exp.report.runs import Found, read_runs
from gip_exp.report.study import Group, make_study, name_metrics
from gip_exp.store import write_text


def write_report(folder: Path, out: Path, console: Console | None = None) -> None:
    """Read the runs below `folder`, write the report to `out`, show the short form. UserError for bad input."""
    found = read_runs(folder)
    runs = name_metrics(found.runs)
    checks.check(runs)
    groups = make_study(runs)
    results = make_results(groups)
    try:
        _write(found, groups, results, out)
    except OSError as error:
        raise UserError(
            f"cannot write the report to {out} ({error.strerror}): choose another folder with --out"
        ) from error
    terminal.show(console or Console(file=sys.stdout, highlight=False, soft_wrap=True), found, results, out)


def _write(found: Found, groups: Sequence[Group], results: Sequence[Result], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    document = layout.make_document(found, groups, results, draw(groups, results, out / "figures"))
    write_text(out / "report.md", markdown.render(document))
    write_text(out / "report.csv", csv_file.render(results))
