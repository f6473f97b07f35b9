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
from gip_exp.llm.batch_records import BatchRecord, BatchRecords
from gip_exp.llm.cache import Cache
from gip_exp.llm.errors import BudgetReachedError, LLMError
from gip_exp.llm.job import cost_of, run_async
from gip_exp.llm.prices import find_price
from gip_exp.llm.request import Reply, Request, cache_key
from gip_exp.llm.settings import EndpointSettings
from gip_exp.llm.wire import most_tokens
from gip_exp.storage.locks import held

MOST_REQUESTS = (
    50_000  # of a batch, OpenAI's limit (Azure allows more): platform.openai.com/docs/guides/batch
)
MOST_BYTES = 190_000_000  # of a batch's file, below the limit of 200 MB
_BATCHES_PER_REQUEST = 3  # a request that came back from so many without a reply is not sent in another
_FIND_S = 60.0  # after this time, a batch that the provider was asked for is in its list, or was never made


@dataclass(frozen=True)
class BatchSettings:
    """How batches are used.

    Attributes:
        rest: what becomes of requests that a batch left without a reply: live, batch or unscored.
        wait_s: how long a process waits for its batches before it ends; they go on.
        poll_s: seconds between looks at the batches.
        most_requests: requests per batch.
        most_bytes: bytes per batch.
    """

    rest: str = "live"
    wait_s: float = 600.0
    poll_s: float = 30.0
    most_requests: int = MOST_REQUESTS
    most_bytes: int = MOST_BYTES


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


Wanted = Callable[[Cache], Iterable[Request]]  # the requests of a job that the cache cannot answer


def complete(
    wanted: Wanted,
    settings: EndpointSettings,
    batch: BatchSettings,
    *,
    cache_dir: Path,
    say: Callable[[str], None] = lambda _: None,
    job: Iterable[Request] = (),
) -> BatchOutcome:
    """Have the wanted requests answered by batches.

    Args:
        wanted: returns the requests without a reply; asked again after each batch, since an unreadable reply may
            make another request necessary.
        settings: the endpoint, with prices and the cost limit of the job.
        batch: how batches are used.
        cache_dir: folder of the reply cache; the records of batches are in its folder `batches`.
        say: told what was sent and collected, and for what the process waits.
        job: all requests of the job, whose replies in the cache count towards `max_cost_usd`.

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
        run.count(job)
        return run_async(lambda: run.complete(wanted))


@dataclass
class _Part:
    """The requests of one batch to be, and the most they may cost in USD."""

    keys: list[str] = field(default_factory=list)
    usd: float = 0.0


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
        self._price = find_price(settings.prices, settings.model)

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
                found += self._take(record, await api.lines(file))
            self.cache.sync()
            record.reason = look.reason
            self._end(record, look.ended)
            self.outcome.replies += found
            why = f" ({look.reason})" if look.reason else ""
            self.say(
                f"  batch {record.batch_id} {look.ended}{why}: {found:,} of {len(record.keys):,} replies"
            )

    def _take(self, record: BatchRecord, lines: Sequence[bytes]) -> int:
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
        for part in self._parts(free, reserved):
            await self._send_one(api, {key: requests[key] for key in part.keys}, part.usd)

    def _parts(self, free: dict[str, Request], reserved: float) -> list[_Part]:
        """Cut the requests into batches within the provider's limits and the cost limit.

        Raises:
            BudgetReachedError: not even the first request fits, and no batch is open that could make room.
        """
        limit = self.settings.max_cost_usd
        parts: list[_Part] = []
        total, size = self.spent_usd + reserved, 0
        for key, request in free.items():
            usd = 0.0 if self._price is None else self._price.cost(*most_tokens(request, self.settings))
            usd *= self.settings.batch_share
            if limit is not None and total + usd > limit:
                if parts or reserved:
                    break  # what these batches cost less than reserved goes to the next ones
                raise BudgetReachedError(
                    f"max_cost_usd={limit:g} would be exceeded: {self.spent_usd:.4f} USD are spent and the next request of "
                    f"a batch may cost up to {usd:.4f} USD. All replies paid for are kept; raise max_cost_usd and start again."
                )
            length = len(line_of(key, request, self.settings)) + 1
            full = parts and (
                len(parts[-1].keys) >= self.batch.most_requests or size + length > self.batch.most_bytes
            )
            if not parts or full:
                parts.append(_Part())
                size = 0
            parts[-1].keys.append(key)
            parts[-1].usd += usd
            size += length
            total += usd
        return parts

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
            await asyncio.sleep(min(self.batch.poll_s, max(0.0, until - time.monotonic())))
            return
        ended = sum(not record.open for record in mine)
        looks = [await api.look(record) for record in mine if record.status == states.SENT]
        done, total = sum(look.done for look in looks), sum(look.total for look in looks)
        raise WaitingForBatchError(
            f"waiting for batch, {ended} of {len(mine)} done ({done:,} of {total:,} requests of the others are answered). "
            "The provider goes on without this process: start again later to go on from here."
        )
