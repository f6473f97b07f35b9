"""Terminal output of a run: progress bars, notes, tables. Written to stderr and to the run's log."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
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

EVERY_S = 60.0  # seconds between two progress lines without a terminal
FOLLOWED_S = 5.0  # seconds between two reports of progress for `gip-exp status`


@contextmanager
def _regularly(call: Callable[[], None], every_s: float) -> Iterator[None]:
    """Call a function regularly from a thread while the block runs."""
    done = threading.Event()

    def repeat() -> None:
        while not done.wait(every_s):
            call()

    thread = threading.Thread(target=repeat, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class Console:
    """Output to stderr and, within `logging_to`, to a log file.

    A terminal shows progress bars. Anything else (a pipe, a job's log, a notebook) gets one progress line every
    `every_s` seconds.

    Args:
        stream: Where to write; stderr by default.
        clock: Returns seconds, like `time.monotonic`.
        every_s: Seconds between two progress lines.
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
        self._active: list[Bar] = []  # innermost last

    @contextmanager
    def logging_to(self, path: Path) -> Iterator[None]:
        """Also append every line to `path`, with a timestamp."""
        with path.open("a", encoding="utf-8") as stream:
            self._log = stream
            try:
                yield
            finally:
                self._log = None

    def say(self, text: str, style: str = "") -> None:
        """Print a line, without secrets and control characters."""
        text = printable(redact(text, secrets_in_environment()))
        self.rich.print(text, style=style, markup=False)
        self._write(text)

    def record(self, text: str) -> None:
        """Write a line to the log alone: it was shown before the log began."""
        self._write(printable(redact(text, secrets_in_environment())))

    def _write(self, text: str) -> None:
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
    def spinner(self, title: str) -> Iterator[None]:
        """Show a spinner with the elapsed time, for work of unknown length; bars appear below it."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with self._shown(Bar(title, None, self._clock), *columns):
            yield

    @contextmanager
    def bar(self, title: str, total: float | None) -> Iterator[Bar]:
        """Show a progress bar that disappears when done."""
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
        self._active.append(bar)
        shown: AbstractContextManager[object] = nullcontext()
        if self.rich.is_terminal:
            shown = _TerminalBar(bar, *columns, console=self.rich)
        elif len(self._active) == 1:
            shown = self._progress_lines()
        try:
            with shown:
                yield
        finally:
            self._active.remove(bar)

    @contextmanager
    def _progress_lines(self) -> Iterator[None]:
        """Print progress regularly from a thread, because a single step may take long."""
        with _regularly(self.report_progress, self._every_s):
            yield

    @contextmanager
    def followed(self, report: Callable[[str], None], every_s: float = FOLLOWED_S) -> Iterator[None]:
        """Pass the progress of the innermost bar to `report` regularly, whenever it has changed."""
        last = ""

        def follow() -> None:
            nonlocal last
            now = "".join(bar.line() for bar in self._active[-1:])
            if now != last:
                report(now)
            last = now

        with _regularly(follow, every_s):
            yield

    def report_progress(self) -> None:
        """Print one line on the progress of the innermost bar, if any."""
        if self._active:
            self.say(f"  {self._active[-1].line()}", style="dim")


class _TerminalBar(Progress):
    """A bar on a terminal; reads the state of `bar` at every refresh."""

    def __init__(self, bar: Bar, *columns: ProgressColumn, console: RichConsole) -> None:
        self._bar: Bar | None = None
        super().__init__(*columns, console=console, transient=True)
        self._task = self.add_task(escape(bar.title), total=bar.total, note="")
        self._bar = bar

    def get_renderables(self) -> Iterable[RenderableType]:
        if self._bar is not None:
            self.update(
                self._task, completed=self._bar.done, total=self._bar.total, note=escape(self._bar.note)
            )
        return super().get_renderables()
