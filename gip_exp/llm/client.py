"""The client of every LLM call: cached, bounded, retried, counted, and stopped before a cost limit.

    async with LLMClient(settings, cache) as client:
        outcome = await client.ask(request)          # Reply, or Fault after the last attempt

Order of one call: reply cache; another task with the same request; a slot at the provider's pace; the cost limit; the
endpoint. A reply is cached before it is used. `ask_all` does the same for a list, from synchronous code.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gip_exp.llm.cache import Cache
from gip_exp.llm.errors import LLMError
from gip_exp.llm.job import Job, cost_of, for_each, price_of, run_async
from gip_exp.llm.pace import Pace, Sent
from gip_exp.llm.patience import Patience
from gip_exp.llm.progress import Progress
from gip_exp.llm.replicas import Replicas
from gip_exp.llm.request import Fault, Reply, Request, Stats, cache_key
from gip_exp.llm.settings import EndpointSettings
from gip_exp.llm.wire import most_tokens


class LLMClient:
    """One endpoint, one cache, one job. Use it inside one event loop, as `async with`."""

    def __init__(self, settings: EndpointSettings, cache: Cache, job: Job | None = None) -> None:
        self.settings = settings
        self.cache = cache
        self.job = job or Job(settings.max_cost_usd)
        self.stats, self.budget = self.job.stats, self.job.budget
        self._transport = None if settings.offline else Replicas(settings, self._note)
        self._price = price_of(settings)
        # With a limit on money, the first reply shows what is billed before many are in flight.
        start = None if settings.max_cost_usd is None else 1
        self._pace = Pace(settings.concurrency, start, settings.backoff_s, settings.backoff_max_s)
        self._tickets = itertools.count()
        self._pending: dict[str, asyncio.Future[Reply | Fault]] = {}
        self._patience = Patience(settings)
        self._jitter = random.Random()  # unseeded, so that processes do not retry in step

    def __repr__(self) -> str:
        return f"LLMClient(model={self.settings.model!r}, addresses={self.settings.addresses!r})"

    async def __aenter__(self) -> LLMClient:
        self.budget.enter_loop()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._transport is not None:
            await self._transport.close()
        self.cache.sync()

    def no_more(self) -> None:
        """Take note that no further request will come, so that one which fails ends by its own attempts."""
        self._patience.no_more()

    async def ask(self, request: Request, key: str | None = None) -> Reply | Fault:
        """Return the reply to `request`, or the last fault if no attempt succeeded.

        Args:
            request: what to ask.
            key: its `cache_key`, if the caller has computed it.

        Returns:
            Reply, or Fault.

        Raises:
            LLMError: no call can succeed (wrong key, unknown model), or another model answers than before.
            BudgetReachedError: the cost limit is reached.
        """
        key = key or cache_key(request, self.settings)
        twin = self._pending.get(key)
        if twin is not None:
            return self._count(await asyncio.shield(twin), shared=True)
        kept = self.cache.get(key)
        if kept is not None:
            self._book(key, kept)
            self._patience.answered_before()
            return self._count(kept)
        if self._transport is None:
            return self._count(
                Fault("offline", "it is not in the reply cache, and nothing is sent", retry=False)
            )
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
        ticket, attempt, held_since = next(self._tickets), 0, 0.0
        while True:
            outcome, crowded = await self._send(request, key, ticket)
            if isinstance(outcome, Reply):
                return outcome
            self._patience.check(outcome, key)
            if not outcome.retry:
                return outcome
            if outcome.held_back:
                held_since = held_since or time.monotonic()
                self._patience.check_held_back(outcome, held_since)
                continue  # to the head of the line, which is no attempt
            if crowded:
                continue  # sent again among fewer, which is no attempt
            attempt += 1
            if attempt >= self.settings.attempts:
                return outcome
            self.stats.retries += 1
            await self._back_off(attempt, outcome)

    async def _send(self, request: Request, key: str, ticket: int) -> tuple[Reply | Fault, bool]:
        """Send one request within pace and budget; its reply is cached before the slot is released.

        Returns the outcome, and whether it is a time-out of too many requests at once.
        """
        prompt, completion = most_tokens(request, self.settings)
        most = self._price.cost(prompt, completion) if self._price else 0.0
        sent = await self._pace.enter(ticket)
        try:
            reserved = await self.budget.reserve(most)
            cost = 0.0
            self.stats.requests += 1
            self.stats.in_flight += 1
            self.stats.peak_in_flight = max(self.stats.peak_in_flight, self.stats.in_flight)
            try:
                assert self._transport is not None  # `ask` answers offline
                outcome = await self._transport.send(request, self._adapted, self._moved)
                if isinstance(outcome, Reply):
                    self.cache.put(key, outcome)
                    cost = self._cost(outcome)
                    if self._price is not None:
                        self.job.booked.add(key)
            finally:
                self.stats.in_flight -= 1
                await self.budget.settle(reserved, cost)
            self._count_sent(outcome, cost)
            return outcome, self._adapt(outcome, sent)
        finally:
            self._pace.leave()
            self.stats.held_back = self._pace.held_back

    def _adapt(self, outcome: Reply | Fault, sent: Sent) -> bool:
        """Adapt the pace to an outcome; return whether it is a time-out of too many requests at once."""
        if isinstance(outcome, Reply):
            self._pace.succeeded()
            self._patience.renewed()
        elif self._patience.asked_too_much(outcome):
            pass  # the job stops, so nobody waits for it
        elif outcome.held_back:
            wait = outcome.retry_after_s
            later = 0.0 if wait is None else self._jitter.uniform(0.0, min(0.05, 0.05 * wait))
            self._pace.refused(sent, None if wait is None else wait + later)
        elif outcome.retry:
            self._patience.tried()
            return outcome.kind == "timeout" and self._pace.overloaded(sent)
        return False

    async def _back_off(self, attempt: int, fault: Fault) -> None:
        """Wait before the next attempt: as long as the endpoint asks, else exponentially longer, with jitter."""
        longest = min(self.settings.backoff_s * 2 ** (attempt - 1), self.settings.backoff_max_s)
        wait = longest * self._jitter.uniform(0.5, 1.0)
        if fault.retry_after_s is not None:
            asked = min(fault.retry_after_s, self.settings.max_retry_after_s)
            wait = asked + self._jitter.uniform(0.0, min(1.0, 0.1 * longest))
        await asyncio.sleep(wait)

    def _cost(self, reply: Reply) -> float:
        return 0.0 if self._price is None else cost_of(reply, self._price, self.settings)

    def _book(self, key: str, kept: Reply) -> None:
        """Count the cost of a cached reply, once, in the total of this job (it costs nothing now)."""
        if self._price is not None and key not in self.job.booked:
            self.job.booked.add(key)
            self.budget.spent_usd += self._cost(kept)
            self.stats.job_usd = self.budget.spent_usd

    def _note(self, text: str) -> None:
        if text not in self.stats.notes:
            self.stats.notes.append(text)

    def _adapted(self, _: Fault) -> None:
        """Count a request that is sent again in another form."""
        self.stats.requests += 1
        self.stats.faults["adapted"] += 1

    def _moved(self, fault: Fault) -> None:
        """Count a request that failed at one address and is sent to another."""
        self.stats.requests += 1
        self.stats.faults[f"{fault.kind}, sent elsewhere"] += 1

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
        if isinstance(outcome, Reply) and outcome.model:
            self.stats.models[outcome.model] += 1
            self._check_model(outcome.model)
        return outcome

    def _check_model(self, model: str) -> None:
        """Raise LLMError if another model replied than before: an alias moved, or another server took the address."""
        self.job.model = self.job.model or model
        if model == self.job.model or self.settings.mixed_models:
            return
        counts = ", ".join(f"{n:,} from {name}" for name, n in self.stats.models.items())
        raise LLMError(
            f"model={self.settings.model!r} is answered by more than one model ({counts}; cached replies are counted), and "
            "one table must not mix them. Name the dated model that is to answer (model=NAME), which asks for all replies "
            "anew, or accept the mixture with mixed_models=true; it is then recorded. All replies are kept."
        )


def ask_all(
    requests: Sequence[Request],
    settings: EndpointSettings,
    *,
    cache_dir: Path,
    progress: Progress | None = None,
    job: Job | None = None,
) -> tuple[list[Reply | Fault], Stats]:
    """Ask every request. A reply without readable text is a Fault here; it is counted and kept.

    Args:
        requests: what to ask.
        settings: the endpoint.
        cache_dir: folder of the reply cache.
        progress: informed at the start and after every finished request.
        job: money and counts, if several calls belong together.

    Returns:
        Outcomes in the order of the requests, and the counts of the job.

    Raises:
        LLMError: as `LLMClient.ask`; replies received before that are in the cache.
    """

    async def run() -> tuple[list[Reply | Fault], Stats]:
        outcomes: list[Reply | Fault] = [Fault("none", "never sent")] * len(requests)
        with Cache(cache_dir) as cache:
            async with LLMClient(settings, cache, job) as client:
                before = client.stats.calls
                if progress is not None:
                    progress(0, len(requests), client.stats)  # what holds the first reply back is shown

                async def one(index: int) -> None:
                    outcome = await client.ask(requests[index])
                    if isinstance(outcome, Reply) and outcome.problem:
                        client.stats.unreadable += not outcome.cached
                        outcome = Fault("no text", outcome.problem, retry=False)
                    outcomes[index] = outcome
                    if progress is not None:
                        progress(client.stats.calls - before, len(requests), client.stats)

                await for_each(
                    range(len(requests)), one, 2 * settings.concurrency, lambda: False, client.no_more
                )
                return outcomes, client.stats

    return run_async(run)
