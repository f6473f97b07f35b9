"""A progress bar for LLM jobs: done, rate, tokens, money, failures."""

from __future__ import annotations

import time
from typing import IO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from gip_exp.llm.request import Stats

_EVERY_S = 0.2


class ProgressBar:
    """Draws on a terminal; where there is none (a batch job's log) it writes a line every `log_every_s`."""

    def __init__(self, label: str, *, file: IO[str] | None = None, log_every_s: float = 60.0) -> None:
        console = Console(file=file, stderr=file is None)
        self._console, self._label, self._log_every_s = console, label, log_every_s
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._started = self._shown = time.monotonic()
        self._last: tuple[int, int, Stats] | None = None
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[line]}"))
            self._bar = Progress(*columns, TimeRemainingColumn(), console=console)
            self._task = self._bar.add_task(escape(label), total=None, line="")
            self._bar.start()

    def update(self, done: int, total: int, stats: Stats) -> None:
        """Show the state, at most a few times a second."""
        self._last = (done, total, stats)
        every = _EVERY_S if self._bar else self._log_every_s
        if time.monotonic() - self._shown >= every:
            self._show()

    def close(self) -> None:
        """Show the final state and leave the terminal as it was."""
        if self._last is not None:
            self._show()
        if self._bar is not None:
            self._bar.stop()

    def _show(self) -> None:
        assert self._last is not None
        self._shown = time.monotonic()
        done, total, stats = self._last
        line = describe(done, total, stats, self._shown - self._started)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total, line=line)
        else:
            self._console.print(f"{self._label}: {line}", highlight=False, soft_wrap=True, markup=False)


def describe(done: int, total: int, stats: Stats, seconds: float) -> str:
    """Return one line: items, replies per second, cached calls, tokens, money, retries and failures."""
    parts = [f"{done:,}/{total:,}", f"{stats.replies / max(seconds, 1e-9):.1f} replies/s"]
    if stats.cached:
        parts.append(f"{stats.cached:,} cached")
    parts.append(f"{stats.prompt_tokens:,} + {stats.completion_tokens:,} tokens")
    if stats.spent_usd is not None:
        parts.append(f"{stats.spent_usd:.4f} USD")
    troubles = [(stats.n_faults, "faults"), (stats.unreadable, "unreadable"), (stats.failed, "failed")]
    parts += [f"{count:,} {name}" for count, name in troubles if count]
    return ", ".join(parts)
