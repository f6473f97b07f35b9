"""Progress of an LLM job as text: replies per second, tokens, cost, failures."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from gip_exp.llm.request import Stats

Progress = Callable[[int, int, Stats], None]
"""Told at the start and after each finished item how many are done, of how many, and the counts so far (which go on
changing). It must be quick."""


class Bar(Protocol):
    """The progress bar of a console."""

    def update(self, done: float, total: float | None = None, note: Callable[[], str] = ...) -> None:
        """Take the state; `note` is called when it is shown."""


def shown_on(bar: Bar, clock: Callable[[], float] = time.monotonic) -> Progress:
    """Progress for `judge_pool`, `ask_all` and `EndpointGenerator`, with `describe` as the bar's note."""
    started = clock()

    def show(done: int, total: int, stats: Stats) -> None:
        bar.update(done, total, lambda: describe(stats, clock() - started))

    return show


def describe(stats: Stats, seconds: float) -> str:
    """Return one line: replies per second, cached calls, tokens, money, retries and failures."""
    parts = [f"{stats.replies / max(seconds, 1e-9):.1f} replies/s"]
    if stats.cached:
        parts.append(f"{stats.cached:,} cached")
    parts.append(f"{stats.prompt_tokens:,} + {stats.completion_tokens:,} tokens")
    if stats.spent_usd is not None:
        parts.append(f"{stats.spent_usd:.4f} USD")
    refused = stats.faults["http 429"]
    troubles = [
        (refused, "sent again after a rate limit"),
        (stats.n_faults - refused, "faults"),
        (stats.unreadable, "unreadable"),
        (stats.failed, "failed"),
    ]
    parts += [f"{count:,} {name}" for count, name in troubles if count]
    if stats.held_back:
        parts.append("held back by the provider's limit")
    return ", ".join(parts)
