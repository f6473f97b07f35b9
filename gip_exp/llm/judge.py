"""Grading a pool of examples by an LLM under a rubric: every example is scored or counted as unscored.

A vote that cannot be parsed is requested again under the next attempt number, up to `content_retries` times; after
that, or if no call succeeds, the vote is lost. An example is scored by the mean of its readable votes if they are
more than half; otherwise it is unscored: NaN, listed with the reason, and tried again under the next attempt number
by the next run. A run that is killed and started again ends with the same table as an uninterrupted one.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from gip_exp.llm.agreement import vote_agreement
from gip_exp.llm.cache import Cache
from gip_exp.llm.client import LLMClient
from gip_exp.llm.errors import TooManyUnscoredError, redact, secrets_in_environment, shorten
from gip_exp.llm.job import for_each, run_async
from gip_exp.llm.judge_table import Example, JudgeSettings, JudgeTable, Unscored, check_examples
from gip_exp.llm.parse import Parsed, parse_scores
from gip_exp.llm.progress import Progress
from gip_exp.llm.request import Fault, Reply, Request, Stats, cache_key
from gip_exp.llm.rubric import HIGHEST, LOWEST, Rubric


def judge_pool(
    examples: Sequence[Example],
    rubric: Rubric,
    settings: JudgeSettings,
    *,
    cache_dir: Path,
    progress: Progress | None = None,
) -> JudgeTable:
    """Judge every example.

    Args:
        examples: mappings with `id`, `prompt` and `completion`.
        rubric: what is graded.
        settings: endpoint, votes and limits.
        cache_dir: folder of the reply cache; all replies are kept there in every case.
        progress: informed at the start and after every vote.

    Returns:
        JudgeTable, rows in the order of the examples.

    Raises:
        LLMError: bad arguments, or no call can succeed.
        BudgetReachedError: the next call could exceed `max_cost_usd`.
        TooManyUnscoredError: more than `max_unscored` of the pool cannot be scored.
    """
    settings.check()
    check_examples(examples)
    return run_async(lambda: _judge(examples, rubric, settings, cache_dir, progress))


def vote_requests(example: Example, rubric: Rubric, settings: JudgeSettings, vote: int) -> Iterator[Request]:
    """Yield the requests for one vote: attempt 0, then further attempts at a higher temperature, without end."""
    first = Request(
        messages=rubric.messages(example["prompt"], example["completion"]),
        schema=rubric.schema(),
        sampling=settings.sampling,
        repetition=settings.repeat * settings.votes + vote,
    )
    yield first
    cold = settings.sampling.temperature
    warm = None if cold is None else max(cold, settings.retry_temperature)
    attempt = 1
    while True:
        yield first.again(attempt, temperature=warm)
        attempt += 1


def read_reply(reply: Reply, rubric: Rubric) -> Parsed:
    """Return the scores in a reply, or the reason why there are none."""
    if reply.refusal is not None:
        return Parsed(None, f"the model declined: {shorten(reply.refusal, 120)!r}")
    if reply.problem:
        return Parsed(None, reply.problem)
    parsed = parse_scores(reply.text, rubric.names, LOWEST, HIGHEST)
    if parsed.scores is None and reply.finish_reason != "stop":
        hint = "; raise max_tokens" if reply.finish_reason == "length" else ""
        return Parsed(None, f"cut off ({reply.finish_reason}{hint}): {parsed.reason}")
    return parsed


class _Pool:
    """The table while it is being filled."""

    def __init__(self, examples: Sequence[Example], rubric: Rubric, settings: JudgeSettings) -> None:
        self.examples, self.rubric, self.settings = examples, rubric, settings
        n, k = len(examples), len(rubric.names)
        self.values = np.full((n, settings.votes, k), np.nan)
        self.lost = np.zeros(n, dtype=np.int64)
        self.settled = np.zeros(n, dtype=np.int64)
        self.done = 0
        self.n_unscored = 0
        self.reasons: dict[int, str] = {}
        self.exhausted: dict[str, int] = {}

    def lose(self, row: int, reason: str) -> None:
        """Count a lost vote; the row is unscored once half of its votes are lost."""
        self.reasons[row] = reason
        before = self.unscored(row)
        self.lost[row] += 1
        self.n_unscored += self.unscored(row) and not before

    def unscored(self, row: int) -> bool:
        """Return whether so many votes are lost that no majority can be readable."""
        return bool(2 * self.lost[row] >= self.settings.votes)

    def settle(self, row: int) -> None:
        """Count a vote as finished."""
        self.settled[row] += 1
        self.done += self.settled[row] == self.settings.votes

    def too_many(self) -> bool:
        """Return whether the share of unscored rows is already above the limit."""
        return self.n_unscored > self.settings.max_unscored * len(self.examples)

    def table(self, stats: Stats) -> JudgeTable:
        """Return the finished table."""
        bad = 2 * self.lost >= self.settings.votes
        count = np.maximum((~np.isnan(self.values)).sum(axis=1), 1)
        scores = np.nansum(self.values, axis=1) / count
        scores[bad] = np.nan
        ids = tuple(e["id"] for e in self.examples)
        unscored = tuple(Unscored(ids[i], self.reasons[i]) for i in np.flatnonzero(bad).tolist())
        agreement = vote_agreement(self.values, self.rubric.names) if self.settings.votes > 1 else None
        return JudgeTable(ids, self.rubric.names, scores, self.values, unscored, stats, agreement)


async def _judge(
    examples: Sequence[Example],
    rubric: Rubric,
    settings: JudgeSettings,
    cache_dir: Path,
    progress: Progress | None,
) -> JudgeTable:
    pool = _Pool(examples, rubric, settings)
    with Cache(cache_dir) as cache:
        async with LLMClient(settings.endpoint, cache) as client:
            if progress is not None:
                progress(0, len(examples), client.stats)  # what holds the first reply back is shown

            async def one(item: tuple[int, int]) -> None:
                await _judge_vote(pool, client, *item)
                if progress is not None:
                    progress(pool.done, len(examples), client.stats)

            await for_each(
                _shuffled(pool), one, 2 * settings.endpoint.concurrency, pool.too_many, client.no_more
            )
            cache.give_up(pool.exhausted)
            if pool.too_many():
                raise TooManyUnscoredError(_too_many(pool))
            return pool.table(client.stats)


def _shuffled(pool: _Pool) -> Iterator[tuple[int, int]]:
    """Yield (row, vote) in an order that differs between processes.

    Processes that share a cache then rarely ask for the same reply at the same time, and find each other's replies.
    The table does not depend on the order.
    """
    votes = pool.settings.votes
    order = list(range(len(pool.examples) * votes))
    random.Random().shuffle(order)
    return ((i // votes, i % votes) for i in order)


async def _judge_vote(pool: _Pool, client: LLMClient, row: int, vote: int) -> None:
    """Fill in one vote: make attempts until one can be parsed or the attempts of this run are used up."""
    settings, parsed = pool.settings, Parsed(None)
    first_key = ""
    for used, request in enumerate(vote_requests(pool.examples[row], pool.rubric, settings, vote)):
        key = cache_key(request, settings.endpoint)
        first_key = first_key or key
        if used >= client.cache.gave_up(first_key) + 1 + settings.content_retries:
            pool.exhausted[first_key] = used
            pool.lose(row, _clean(f"{used} unreadable replies, the last: {parsed.reason}"))
            break
        outcome = await client.ask(request, key)
        if isinstance(outcome, Fault):
            pool.lose(row, f"no reply after {settings.endpoint.attempts} attempts, the last: {outcome}"
                      if outcome.retry else f"no reply: {outcome}")  # fmt: skip
            break
        parsed = read_reply(outcome, pool.rubric)
        if parsed.scores is not None:
            pool.values[row, vote] = parsed.scores
            break
        client.stats.unreadable += not outcome.cached
    pool.settle(row)


def _clean(text: str) -> str:
    return redact(text, secrets_in_environment())


def _too_many(pool: _Pool) -> str:
    kinds = Counter(_kind(reason) for row, reason in pool.reasons.items() if pool.unscored(row))
    listed = "; ".join(f"{count} x {kind}" for kind, count in kinds.most_common(5))
    row = next(row for row in pool.reasons if pool.unscored(row))
    first = f"{pool.examples[row]['id']}: {shorten(pool.reasons[row], 400)}"
    share, limit = pool.n_unscored / len(pool.examples), pool.settings.max_unscored
    return (
        f"{pool.n_unscored} of {len(pool.examples)} examples ({share:.1%}) could not be scored, max_unscored "
        f"allows {limit:.1%}. Why: {listed}. The first: {first}. All replies are kept: fix the cause and start again, which "
        "tries these examples once more, or raise max_unscored."
    )


def _kind(reason: str) -> str:
    """Return the beginning of a reason without the quoted reply, for the tally."""
    return shorten(re.split(r" in '|: '", reason, maxsplit=1)[0], 160)
