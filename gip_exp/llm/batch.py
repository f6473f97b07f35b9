"""Requests through a provider's batch endpoint: half the price, replies within a day, into the same reply cache.

    outcome = complete(lambda cache: [requests without a reply], settings, batch, cache_dir=folder)

`complete` collects what earlier processes sent, sends the rest, waits as long as it may, and returns; the caller then
reads the replies from the cache as if they had been asked for one by one. A batch that ended without all of its replies
leaves the others to `rest`: asked live by the caller, sent in another batch, or left without a reply.

Order of a batch: record on disk, upload, record with the file's id, creation, record with the batch's id. A process may
be killed anywhere: files without a batch cost nothing, and a batch whose id was not recorded is found in the provider's
list. Replies are put into the cache before the record says that the batch has ended, and never twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gip_exp.llm import batch_records as states
from gip_exp.llm.batch_api import BatchApi, line_of, read_line
from gip_exp.llm.batch_parts import BatchSettings, cut
from gip_exp.llm.batch_records import BatchRecord, BatchRecords
from gip_exp.llm.cache import Cache
from gip_exp.llm.errors import LLMError
from gip_exp.llm.job import cost_of, price_of, run_async
from gip_exp.llm.request import Reply, Request, cache_key
from gip_exp.llm.settings import EndpointSettings
from gip_exp.storage.locks import held

_BATCHES_PER_REQUEST = 3  # a request that came back from so many without a reply is not sent in another
_FIND_S = 60.0  # after this time, a batch that the provider was asked for is in its list, or was never made


class WaitingForBatchError(LLMError):
    """The batches have not ended yet; starting again goes on."""


@dataclass
class BatchOutcome:
    """What batches did for a job.

    Attributes:
        batches: batches that concern the job, ended ones included.
        replies: replies collected by this process.
        left: requests that batches left without a reply.
        reasons: why, with the number of requests.
    """

    batches: int = 0
    replies: int = 0
    left: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


Wanted = Callable[[Cache], Iterable[Request]]


def complete(
    wanted: Wanted,
    settings: EndpointSettings,
    batch: BatchSettings,
    *,
    cache_dir: Path,
    say: Callable[[str], None] = lambda _: None,
    job: Wanted = lambda _: (),
) -> BatchOutcome:
    """Have the wanted requests answered by batches.

    Args:
        wanted: returns the requests without a reply; asked again after each batch, since an unreadable reply may
            make another request necessary.
        settings: the endpoint, with prices and the cost limit of the job.
        batch: how batches are used.
        cache_dir: folder of the reply cache; the records of batches are in its folder `batches`.
        say: told what was sent and collected, and for what the process waits.
        job: returns all requests of the job; their replies in the cache count towards `max_cost_usd`.

    Returns:
        BatchOutcome.

    Raises:
        WaitingForBatchError: the batches have not ended within `wait_s`.
        BudgetReachedError: the next request could exceed `max_cost_usd`.
        LLMError: the endpoint refused, or cannot be reached.
    """
    with Cache(cache_dir) as cache:
        records = BatchRecords(cache_dir, settings)
        run = _Run(settings, batch, cache, records, say)
        run.count(job(cache))
        return run_async(lambda: run.complete(wanted))


class _Run:
    def __init__(
        self,
        settings: EndpointSettings,
        batch: BatchSettings,
        cache: Cache,
        records: BatchRecords,
        say: Callable[[str], None],
    ) -> None:
        self.settings, self.batch, self.cache, self.records, self.say = settings, batch, cache, records, say
        self.spent_usd = 0.0
        self.outcome = BatchOutcome()
        self._seen: set[str] = set()
        self._pause = 0.5
        self._price = price_of(settings)

    async def complete(self, wanted: Wanted) -> BatchOutcome:
        """Collect, send and wait until nothing is left to send."""
        until = time.monotonic() + self.batch.wait_s
        async with BatchApi(self.settings) as api:
            while True:
                with held(
                    self.records.lock, lambda: self.say("  waiting for another process that sends batches")
                ):
                    await self._resolve(api)
                    await self._collect(api)
                    requests = {cache_key(r, self.settings): r for r in wanted(self.cache)}
                    self._seen.update(requests)
                    await self._send(api, requests)
                mine = self._mine()
                if not any(record.open for record in mine):
                    return self._finish(requests, mine)
                await self._wait(api, mine, until)

    def count(self, job: Iterable[Request]) -> None:
        """Count what the replies of the job that are in the cache have cost."""
        self._seen = {cache_key(request, self.settings) for request in job}
        replies = [self.cache.get(key) for key in self._seen]
        self.spent_usd = sum(self.cost(reply) for reply in replies if reply is not None)

    def cost(self, reply: Reply) -> float:
        """Return what a reply cost, in USD; 0 without a price."""
        return 0.0 if self._price is None else cost_of(reply, self._price, self.settings)

    def _mine(self) -> list[BatchRecord]:
        """Return the batches with requests that this process has wanted."""
        return [record for record in self.records.all() if not self._seen.isdisjoint(record.keys)]

    async def _resolve(self, api: BatchApi) -> None:
        """Find out what became of batches that a killed process was about to send."""
        for record in self.records.all():
            if record.status == states.PLANNED:
                self._end(record, "lost")  # at most a file was uploaded, which costs nothing
            if record.status != states.CREATING:
                continue
            record.batch_id = await api.find(record)
            if not record.batch_id and (left := _FIND_S - (time.time() - record.asked)) > 0:
                self.say(
                    f"  a batch may have been made when the last process ended: looking again in {left:.0f} s"
                )
                await asyncio.sleep(left)
                record.batch_id = await api.find(record)
            if record.batch_id:
                record.status = states.SENT
                self.records.save(record)
            else:
                self._end(record, "lost")

    def _end(self, record: BatchRecord, ending: str) -> None:
        record.status, record.ending = states.ENDED, ending
        self.records.save(record)

    async def _collect(self, api: BatchApi) -> None:
        """Put the replies of batches that have ended into the cache."""
        for record in self.records.all():
            if record.status != states.SENT:
                continue
            look = await api.look(record)
            if not look.ended:
                continue
            found = 0
            for file in look.files:
                found += self._take(api, record, await api.lines(file))
            self.cache.sync()
            record.reason = look.reason
            self._end(record, look.ended)
            self.outcome.replies += found
            why = f" ({look.reason})" if look.reason else ""
            self.say(
                f"  batch {record.batch_id} {look.ended}{why}: {found:,} of {len(record.keys):,} replies"
            )

    def _take(self, api: BatchApi, record: BatchRecord, lines: Sequence[bytes]) -> int:
        """Put the replies in a file into the cache; return how many requests of the batch have one."""
        found = 0
        asked = set(record.keys)
        for raw in lines:
            key, outcome = read_line(raw)
            if key not in asked:
                continue  # not ours, torn, or a second line for the same request
            if isinstance(outcome, str):
                record.errors[key] = outcome
                continue
            api.check(outcome)
            asked.discard(key)
            found += 1
            if self.cache.get(key) is None:
                self.cache.put(key, replace(outcome, batch=True))
                self.spent_usd += self.cost(replace(outcome, batch=True))
        return found

    async def _send(self, api: BatchApi, requests: dict[str, Request]) -> None:
        """Send the requests that no batch holds or has come back from, as many as the cost limit allows."""
        records = self.records.all()
        waiting = {key for record in records if record.open for key in record.keys}
        tried: dict[str, int] = {}
        for record in records:
            if not record.open and record.ending != "lost":
                for key in record.keys:
                    tried[key] = tried.get(key, 0) + 1
        most = _BATCHES_PER_REQUEST if self.batch.rest == "batch" else 1
        free = {
            key: request
            for key, request in requests.items()
            if key not in waiting
            and tried.get(key, 0) < most
            and (self.batch.rest == "batch" or request.attempt == 0)
        }
        reserved = sum(record.most_usd for record in records if record.open)
        for part in cut(free, self.settings, self.batch, self.spent_usd, reserved):
            await self._send_one(api, {key: requests[key] for key in part.keys}, part.usd)

    async def _send_one(self, api: BatchApi, requests: dict[str, Request], usd: float) -> None:
        record = self.records.new(list(requests), usd)
        lines = [line_of(key, request, self.settings) for key, request in requests.items()]
        record.file_id = await api.upload(record, lines)
        record.status, record.asked = states.CREATING, time.time()
        self.records.save(record)
        record.batch_id = await api.create(record)
        record.status = states.SENT
        self.records.save(record)
        self.say(f"  batch {record.batch_id}: {len(requests):,} requests sent")

    def _finish(self, requests: dict[str, Request], mine: list[BatchRecord]) -> BatchOutcome:
        self.outcome.batches, self.outcome.left = len(mine), len(requests)
        for key in requests:
            record = next((r for r in reversed(mine) if key in r.errors or key in r.keys), None)
            reason = (
                "no batch" if record is None else record.errors.get(key) or record.reason or record.ending
            )
            self.outcome.reasons[reason] = self.outcome.reasons.get(reason, 0) + 1
        return self.outcome

    async def _wait(self, api: BatchApi, mine: list[BatchRecord], until: float) -> None:
        """Wait until the next look at the batches.

        Raises:
            WaitingForBatchError: the time is over.
        """
        if time.monotonic() < until:
            self._pause = min(2 * self._pause, self.batch.poll_s)
            await asyncio.sleep(min(self._pause, max(0.0, until - time.monotonic())))
            return
        ended = sum(not record.open for record in mine)
        looks = [await api.look(record) for record in mine if record.status == states.SENT]
        done, total = sum(look.done for look in looks), sum(look.total for look in looks)
        raise WaitingForBatchError(
            f"waiting for batch, {ended} of {len(mine)} done ({done:,} of {total:,} requests of the others are answered). "
            "The provider goes on without this process: start again later to go on from here."
        )
