"""The client of every LLM call: cached, bounded, retried, counted, and stopped before a cost limit.

    async with LLMClient(settings, cache) as client:
        outcome = await client.ask(request)          # Reply, or Fault after the last attempt

Order of one call: reply cache; another task with the same request; a free slot; the cost limit; the endpoint. A
reply is cached before it is used. `ask_all` does the same for a list, from synchronous code.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from gip_exp.llm.cache import Cache
from gip_exp.llm.errors import LLMError
from gip_exp.llm.prices import Budget, find_price
from gip_exp.llm.progress import Progress
from gip_exp.llm.request import Fault, Reply, Request, Stats, cache_key
from gip_exp.llm.settings import EndpointSettings
from gip_exp.llm.transport import Transport
from gip_exp.llm.wire import most_tokens

T = TypeVar("T")


class LLMClient:
    """One endpoint, one cache, one budget. Use it inside one event loop, as `async with`."""

    def __init__(self, settings: EndpointSettings, cache: Cache) -> None:
        self.settings = settings
        self.cache = cache
        self.stats = Stats()
        self.budget = Budget(settings.max_cost_usd)
        self._transport = Transport(settings)
        self._price = find_price(settings.prices, settings.model)
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._pending: dict[str, asyncio.Future[Reply | Fault]] = {}
        self._booked: set[str] = set()
        self._not_before = 0.0
        self._in_vain = 0  # requests completed since the last reply
        self._jitter = random.Random()  # unseeded, so that processes do not retry in step
        if settings.max_cost_usd is not None and self._price is None:
            raise LLMError(
                f"max_cost_usd is set, but the price table has no entry for model {settings.model!r} "
                f"(it has: {', '.join(settings.prices) or 'nothing'}). Add its input and output price in USD "
                "per million tokens (0 for a local server)."
            )

    def __repr__(self) -> str:
        return f"LLMClient(model={self.settings.model!r}, base_url={self.settings.base_url!r})"

    async def __aenter__(self) -> LLMClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.close()
        self.cache.sync()

    async def ask(self, request: Request, key: str | None = None) -> Reply | Fault:
        """Return the reply to `request`, or the last fault if no attempt succeeded.

        Args:
            request: what to ask.
            key: its `cache_key`, if the caller has computed it.

        Returns:
            Reply, or Fault.

        Raises:
            LLMError: no call can succeed (wrong key, unknown model).
            BudgetReachedError: the cost limit is reached.
        """
        key = key or cache_key(request, self.settings)
        twin = self._pending.get(key)
        if twin is not None:
            return self._count(await asyncio.shield(twin), shared=True)
        kept = self.cache.get(key)
        if kept is not None:
            self._book(key, kept)
            return self._count(kept)
        future: asyncio.Future[Reply | Fault] = asyncio.get_running_loop().create_future()
        self._pending[key] = future
        outcome: Reply | Fault = Fault("stopped", "the job ended before a reply came", retry=False)
        try:
            outcome = await self._ask_endpoint(request, key)
        finally:
            del self._pending[key]
            future.set_result(outcome)
        return self._count(outcome)

    async def _ask_endpoint(self, request: Request, key: str) -> Reply | Fault:
        fault = Fault("none", "never sent")
        attempt = adapted = 0
        while attempt < self.settings.attempts:
            outcome = await self._send(request, key)
            if isinstance(outcome, Reply):
                return outcome
            fault = outcome
            if fault.fatal:
                raise LLMError(f"{self.settings.model}: {fault}. Replies received so far are kept.")
            if not fault.retry:
                return fault
            if self._in_vain >= self.settings.attempts * self.settings.concurrency:
                raise LLMError(self._silent(fault))
            if fault.kind == "adapted" and adapted < 8:
                adapted += 1  # sent again at once in another form, which does not count as an attempt
                continue
            attempt += 1
            if attempt < self.settings.attempts:
                patient = await self._back_off(attempt, fault)
                if not patient:
                    return fault
                self.stats.retries += 1
        return fault

    async def _send(self, request: Request, key: str) -> Reply | Fault:
        """Send one request within slot, pause and budget; its reply is cached before the slot is released."""
        prompt, completion = most_tokens(request, self.settings)
        most = self._price.cost(prompt, completion) if self._price else 0.0
        async with self._slots:
            await self._wait_for_gate()
            reserved = await self.budget.reserve(most)
            cost = 0.0
            self.stats.requests += 1
            self.stats.in_flight += 1
            self.stats.peak_in_flight = max(self.stats.peak_in_flight, self.stats.in_flight)
            try:
                outcome = await self._transport.send(request)
                if isinstance(outcome, Reply):
                    self.cache.put(key, outcome)
                    cost = self._cost(outcome)
                    if self._price is not None:
                        self._booked.add(key)
            finally:
                self.stats.in_flight -= 1
                await self.budget.settle(reserved, cost)
            self._count_sent(outcome, cost)
            if isinstance(outcome, Reply):
                self._in_vain = 0
            elif outcome.retry and outcome.kind not in ("http 429", "adapted"):  # busy, or being adapted to
                self._in_vain += 1
            return outcome

    def _silent(self, fault: Fault) -> str:
        """Return the message for an endpoint that is down: no reply to as many requests as all slots may attempt."""
        return (
            f"{self.settings.model}: no reply to the last {self._in_vain} requests (the last: {fault}). Check that "
            f"{self.settings.base_url or 'the endpoint'} is running, then start again: replies received so far are kept."
        )

    async def _wait_for_gate(self) -> None:
        while (wait := self._not_before - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    async def _back_off(self, attempt: int, fault: Fault) -> bool:
        """Wait before the next attempt: as long as the endpoint asks, else exponentially longer, with jitter.

        A 429 delays every call, not only this one. Returns False if the endpoint asks for a longer wait than
        `max_retry_after_s`.
        """
        longest = min(self.settings.backoff_s * 2 ** (attempt - 1), self.settings.backoff_max_s)
        wait = longest * self._jitter.uniform(0.5, 1.0)
        if fault.retry_after_s is not None:
            if fault.retry_after_s > self.settings.max_retry_after_s:
                return False
            wait = fault.retry_after_s + self._jitter.uniform(0.0, min(1.0, 0.1 * longest))
        if fault.kind == "http 429":
            self._not_before = max(self._not_before, time.monotonic() + wait)
        await asyncio.sleep(wait)
        return True

    def _cost(self, reply: Reply) -> float:
        if self._price is None:
            return 0.0
        return self._price.cost(reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens)

    def _book(self, key: str, kept: Reply) -> None:
        """Count the cost of a cached reply, once, in the total of this job (it costs nothing now)."""
        if self._price is not None and key not in self._booked:
            self._booked.add(key)
            self.budget.spent_usd += self._cost(kept)
            self.stats.job_usd = self.budget.spent_usd

    def _count_sent(self, outcome: Reply | Fault, cost: float) -> None:
        stats = self.stats
        if isinstance(outcome, Fault):
            stats.faults[outcome.kind] += 1
            return
        stats.replies += 1
        stats.prompt_tokens += outcome.prompt_tokens
        stats.completion_tokens += outcome.completion_tokens
        stats.estimated += outcome.estimated
        if self._price is not None:
            stats.spent_usd = (stats.spent_usd or 0.0) + cost
            stats.job_usd = self.budget.spent_usd

    def _count(self, outcome: Reply | Fault, *, shared: bool = False) -> Reply | Fault:
        if shared and isinstance(outcome, Reply):
            outcome = replace(outcome, cached=True)  # paid for by the task that sent the request
        self.stats.calls += 1
        self.stats.cached += isinstance(outcome, Reply) and outcome.cached
        self.stats.failed += isinstance(outcome, Fault)
        return outcome


async def for_each(
    items: Iterable[T], work: Callable[[T], Awaitable[None]], concurrency: int, stop: Callable[[], bool]
) -> None:
    """Run `work` on every item with at most `concurrency` at a time, without one task per item.

    After an exception, or once `stop()` returns True, no item is started. Items in progress are finished, since
    their replies are paid for; then the first exception is raised.
    """
    queue = iter(items)
    errors: list[BaseException] = []

    async def worker() -> None:
        for item in queue:
            if errors or stop():
                return
            try:
                await work(item)
            except Exception as error:
                errors.append(error)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())
    if errors:
        raise errors[0]


def ask_all(
    requests: Sequence[Request],
    settings: EndpointSettings,
    *,
    cache_dir: Path,
    progress: Progress | None = None,
) -> tuple[list[Reply | Fault], Stats]:
    """Ask every request.

    Args:
        requests: what to ask.
        settings: the endpoint.
        cache_dir: folder of the reply cache.
        progress: informed after every finished request.

    Returns:
        Outcomes in the order of the requests, and the counts.

    Raises:
        LLMError: as `LLMClient.ask`; replies received before that are in the cache.
    """

    async def run() -> tuple[list[Reply | Fault], Stats]:
        outcomes: list[Reply | Fault] = [Fault("none", "never sent")] * len(requests)
        with Cache(cache_dir) as cache:
            async with LLMClient(settings, cache) as client:

                async def one(index: int) -> None:
                    outcomes[index] = await client.ask(requests[index])
                    if progress is not None:
                        progress(client.stats.calls, len(requests), client.stats)

                await for_each(range(len(requests)), one, 2 * settings.concurrency, lambda: False)
                return outcomes, client.stats

    return run_async(run)


def run_async(job: Callable[[], Awaitable[T]]) -> T:
    """Run `job` to its end from synchronous code, also inside the running event loop of a notebook."""

    async def main() -> T:
        return await job()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(main())
    box: list[T] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            box.append(asyncio.run(main()))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return box[0]
