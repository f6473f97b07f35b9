"""The table of all runs, with links to the files in their folders."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from gip_exp.errors import printable
from gip_exp.report import names, text
from gip_exp.report.document import Column, Table
from gip_exp.report.run import Found, Run, Unfinished
from gip_exp.runs.folder import RESULT, SELECTION_PAGE

FILES = (SELECTION_PAGE, RESULT)  # linked where the run has them
FOLDED = 30  # runs from which the table is shown on demand


def run_table(found: Found, out: Path) -> Table:
    """Return a line per run folder, finished or not.

    Args:
        found: The runs.
        out: Folder of the report, to which the links are relative.
    """
    runs: Sequence[Run | Unfinished] = sorted((*found.runs, *found.others), key=lambda run: run.folder)
    columns = (
        *(Column(name, "left") for name in ("run", "method")),
        *(Column(name) for name in ("seed", "rows", "of pool")),
        *(Column(name, "left") for name in ("status", *FILES)),
    )
    rows, links = [], {}
    for number, run in enumerate(runs):
        files = [name if name in _files(run) else "" for name in FILES]
        rows.append((_name(run.folder, found.root), *_described(run), *files))
        for at, name in enumerate(files, len(columns) - len(FILES)):
            if name:
                links[number, at] = _link(run.folder / name, out)
    return Table(
        "runs",
        "Runs by folder",
        columns,
        tuple(rows),
        (f"{SELECTION_PAGE}: what the run selected and left out; {RESULT}: its numbers.",),
        folded=len(rows) > FOLDED,
        links=links,
    )


def _name(folder: Path, root: Path) -> str:
    return printable(folder.name if folder == root else str(folder.relative_to(root)))


def _files(run: Run | Unfinished) -> list[str]:
    """Return which of the files the run has; the untuned base selects nothing that counts."""
    kept = (RESULT,) if _untuned(run) else FILES
    return [name for name in kept if (run.folder / name).is_file()]


def _untuned(run: Run | Unfinished) -> bool:
    return isinstance(run, Run) and bool(run.answers) and not run.tuned


def _described(run: Run | Unfinished) -> tuple[str, str, str, str, str]:
    """Return method, seed, rows selected, rows of the pool, status."""
    if isinstance(run, Unfinished):
        return ("", "", "", "", run.status)
    untuned = _untuned(run)
    rows, pool = (text.NONE if n is None or untuned else f"{n:,}" for n in (run.n_selected, run.n_pool))
    method = names.look(names.UNTUNED if untuned else run.selector).label
    return (method, str(run.seed), rows, pool, str(run.result["status"]))


def _link(file: Path, out: Path) -> str:
    """Return the relative address of a file, with every character escaped that has a meaning in an address or in Markdown."""
    return quote(os.fsencode(os.path.relpath(file.resolve(), out.resolve())))
