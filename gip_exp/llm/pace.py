"""When a request may be sent: so many in flight, so far apart, as the provider's limits turn out to be.

Requests wait in the order of their tickets; one that was refused keeps its ticket and goes first. Two values adapt:

- `limit`, the requests in flight: lowered by a factor when the endpoint is overloaded (time-outs, refusals without a time
  to come back at), raised by one with each of the next two rounds of replies, then by one with each reply.
- `gap_s`, the seconds between two requests. A refusal that says when to come back tells the rate that is allowed: the
  replies since the refusal before, over the time from then to the end of the wait. The gap then shrinks with
  every reply, by little at first, so that a limit that was lifted is noticed.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from typing import NamedTuple

_SHRINK = (
    0.01  # share of the gap that the first reply after a refusal takes off; the second twice that, and so on
)
_SLACK = 1.1  # a gap too long for a few replies costs less than a refusal
_LOWER = 0.6  # factor of the limit
_STEADY_ROUNDS = 2
_LEAST_GAP_S = 0.002
_MOST_GAP_S = 60.0
_SHOWN_S = 0.05


class Sent(NamedTuple):
    """When a request was sent, after how many replies, and how many were in flight with it, itself included."""

    at: float
    heard: int
    among: int


class Pace:
    """Slots for the requests of one client.

    Args:
        most: requests in flight at most.
        start: requests in flight at first; it then doubles with every round of replies.
        first_s: wait after a refusal that names no time, doubled until a reply comes.
        longest_s: such a wait at most.
        clock: returns seconds.
    """

    def __init__(
        self,
        most: int,
        start: int | None = None,
        first_s: float = 0.5,
        longest_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most = most
        self._first_s, self._longest_s = first_s, longest_s
        self.limit = float(start or most)
        self.gap_s = 0.0
        self.in_flight = 0
        self._clock = clock
        self._since = clock()  # since when replies are counted
        self._replies = 0  # since then
        self._heard = 0  # replies in all
        self._unheard = 0  # refusals since the last reply
        self._opens = self._last = self._adapted = self._since - 1e6
        self._lowered = -(10**9)  # number of the reply after which the limit was last lowered
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def held_back(self) -> bool:
        """Whether a provider's limit, not our own, sets the pace."""
        return self.gap_s > _SHOWN_S or self._clock() < self._opens

    async def enter(self, ticket: int) -> Sent:
        """Wait for a slot; returns what `refused` and `overloaded` need. Call `leave` afterwards."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (ticket, next(self._order), future))
        self._release()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.leave()
            raise
        return Sent(self._clock(), self._heard, self.in_flight)

    def leave(self) -> None:
        """Give the slot back."""
        self.in_flight -= 1
        self._release()

    def succeeded(self) -> None:
        """Adapt to a reply."""
        self._replies += 1
        self._heard += 1
        if self.limit < self.most:
            steady = self._heard - self._lowered < _STEADY_ROUNDS * self.limit
            self.limit = min(self.most, self.limit + (1.0 / self.limit if steady else 1.0))
        shrunk = self.gap_s * max(0.5, 1.0 - _SHRINK * self._replies)
        self.gap_s = shrunk if shrunk > _LEAST_GAP_S else 0.0

    def refused(self, sent: Sent, wait_s: float | None) -> None:
        """Adapt to a refusal; nothing is sent before the wait is over."""
        now = self._clock()
        fresh = sent.at > self._adapted  # once for all that were in flight together
        if fresh:
            self._unheard = 0 if self._replies else self._unheard + 1
        unnamed_s = min(self._first_s * 2 ** min(self._unheard, 20), self._longest_s)
        opens = now + (unnamed_s if wait_s is None else wait_s)
        if fresh:
            if wait_s is None:
                self._lower()
            if wait_s is not None and self._replies:
                per_reply = (opens - self._since) / self._replies
                right = min(per_reply, self.gap_s + wait_s) * _SLACK
                self.gap_s = min(max(self.gap_s, right), _MOST_GAP_S)
            if self._replies:
                self._since, self._replies = opens, 0
            self._adapted = now
        self._opens = max(self._opens, opens)

    def overloaded(self, sent: Sent) -> bool:
        """Adapt to a time-out, and return whether the endpoint had too many requests at once.

        It had if, while this one was in flight, it replied to fewer than were in flight with it. Otherwise this request
        alone got no reply.
        """
        if sent.among <= 1 or self._heard - sent.heard >= sent.among:
            return False
        if sent.at > self._adapted:
            self._lower()
            self._adapted = self._clock()
        return True

    def _lower(self) -> None:
        self.limit, self._lowered = max(1.0, self.limit * _LOWER), self._heard

    def _release(self) -> None:
        """Let those go first in line whose time has come; else set an alarm."""
        while self._waiting and self.in_flight < int(self.limit):
            if self._waiting[0][2].done():  # cancelled
                heapq.heappop(self._waiting)
                continue
            now = self._clock()
            ready = max(self._opens, self._last + self.gap_s)
            if now < ready:
                self._wake_in(ready - now)
                return
            _, _, future = heapq.heappop(self._waiting)
            self._last = now
            self.in_flight += 1
            future.set_result(None)

    def _wake_in(self, seconds: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_later(seconds, self._release)
