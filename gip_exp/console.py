"""What people see while a run works: progress bars, notes, the closing table. All of it on stderr, and in the log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from gip_exp.errors import printable
from gip_exp.redaction import redact, secrets_in_environment


class Bar:
    """A progress bar; `advance` and `update` are cheap enough to call at every step."""

    def __init__(self, progress: Progress, task: int) -> None:
        self._progress = progress
        self._task = task

    def update(self, done: float, total: float | None = None, note: str = "") -> None:
        self._progress.update(self._task, completed=done, total=total, note=note)  # type: ignore[arg-type]

    def advance(self, steps: float = 1) -> None:
        self._progress.advance(self._task, steps)  # type: ignore[arg-type]


class Console:
    """stderr plus, once a run folder is there, its `log.txt`. A terminal gets live bars, a file gets plain lines."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.rich = RichConsole(file=stream or sys.stderr, highlight=False, soft_wrap=True)
        self._log: TextIO | None = None

    @contextmanager
    def logging_to(self, path: Path) -> Iterator[None]:
        """Copy every line to `path` as well, with the time in front."""
        with path.open("a", encoding="utf-8") as stream:
            self._log = stream
            try:
                yield
            finally:
                self._log = None

    def say(self, text: str, style: str = "") -> None:
        text = printable(
            redact(text, secrets_in_environment())
        )  # whatever it was that told us: no key in a log
        self.rich.print(text, style=style, markup=False)
        if self._log is not None:
            self._log.write(time.strftime("%Y-%m-%d %H:%M:%S ") + text + "\n")
            self._log.flush()

    def warn(self, text: str) -> None:
        self.say(f"note: {text}", style="yellow")

    def table(self, table: Table) -> None:
        self.rich.print(table)
        if self._log is not None:
            RichConsole(file=self._log, width=120).print(table)
            self._log.flush()

    @contextmanager
    def working(self, title: str) -> Iterator[None]:
        """A spinner with the seconds so far, for work that cannot say how far it is; bars show below it."""
        progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=self.rich,
            transient=True,
            disable=not self.rich.is_terminal,
        )
        with progress:
            progress.add_task(escape(title), total=None)
            yield

    @contextmanager
    def bar(self, title: str, total: float | None) -> Iterator[Bar]:
        """A bar that disappears when done; without a terminal nothing is drawn (the stage's line says how long)."""
        progress = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.rich,
            transient=True,
            disable=not self.rich.is_terminal,
        )
        with progress:
            yield Bar(progress, progress.add_task(escape(title), total=total, note=""))
