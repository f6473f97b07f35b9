"""What people see while a run works: progress bars, notes, the closing table. All of it on stderr, and in the log."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TextIO

from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from gip_exp.errors import printable
from gip_exp.progress import Bar
from gip_exp.redaction import redact, secrets_in_environment

EVERY_S = 60.0  # seconds between two lines on how far a stage is, where there is no terminal


class Console:
    """stderr plus, once a run folder is there, its `log.txt`. The only one that draws.

    A terminal shows bars while work goes on. Anything else (a pipe, a job's log, a notebook) gets a line every
    `every_s` seconds that says how far it is. `clock` gives seconds, as `time.monotonic` does.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        every_s: float = EVERY_S,
    ) -> None:
        self.rich = RichConsole(file=stream or sys.stderr, highlight=False, soft_wrap=True)
        self._log: TextIO | None = None
        self._clock, self._every_s = clock, every_s
        self._at_work: list[Bar] = []  # the innermost last

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
        """Print a line, without secrets and control characters."""
        text = printable(
            redact(text, secrets_in_environment())
        )  # whatever it was that told us: no key in a log
        self.rich.print(text, style=style, markup=False)
        if self._log is not None:
            self._log.write(time.strftime("%Y-%m-%d %H:%M:%S ") + text + "\n")
            self._log.flush()

    def warn(self, text: str) -> None:
        """Print a note."""
        self.say(f"note: {text}", style="yellow")

    def table(self, table: Table) -> None:
        """Print a table."""
        self.rich.print(table)
        if self._log is not None:
            RichConsole(file=self._log, width=120).print(table)
            self._log.flush()

    @contextmanager
    def working(self, title: str) -> Iterator[None]:
        """A spinner with the seconds so far, for work that cannot say how far it is; bars show below it."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with self._shown(Bar(title, None, self._clock), *columns):
            yield

    @contextmanager
    def bar(self, title: str, total: float | None) -> Iterator[Bar]:
        """A bar that disappears when done."""
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        bar = Bar(title, total, self._clock)
        with self._shown(bar, *columns):
            yield bar

    @contextmanager
    def _shown(self, bar: Bar, *columns: ProgressColumn) -> Iterator[None]:
        self._at_work.append(bar)
        drawn = _Drawn(bar, *columns, console=self.rich) if self.rich.is_terminal else nullcontext()
        telling = self._telling() if not self.rich.is_terminal and len(self._at_work) == 1 else nullcontext()
        try:
            with drawn, telling:
                yield
        finally:
            self._at_work.remove(bar)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Say how far the work of the block is, now and then, from a thread: a step itself may take long."""
        over = threading.Event()

        def tell() -> None:
            while not over.wait(self._every_s):
                self.tell()

        thread = threading.Thread(target=tell, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def tell(self) -> None:
        """One line on how far the innermost work is."""
        if self._at_work:
            self.say(f"  {self._at_work[-1].line()}", style="dim")


class _Drawn(Progress):
    """A bar on a terminal, read whenever the terminal is drawn anew."""

    def __init__(self, bar: Bar, *columns: ProgressColumn, console: RichConsole) -> None:
        self._bar: Bar | None = None
        super().__init__(*columns, console=console, transient=True)
        self._drawn = self.add_task(escape(bar.title), total=bar.total, note="")
        self._bar = bar

    def get_renderables(self) -> Iterable[RenderableType]:
        if self._bar is not None:
            self.update(
                self._drawn, completed=self._bar.done, total=self._bar.total, note=escape(self._bar.note)
            )
        return super().get_renderables()
