"""Estimated calls, tokens and cost of judging a pool, before the first call (`judge.dry_run=true`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gip_exp.llm.cache import Cache
from gip_exp.llm.envelope import guess_tokens
from gip_exp.llm.judge import read_reply, vote_requests
from gip_exp.llm.judge_table import Example, JudgeSettings, check_examples
from gip_exp.llm.prices import find_price
from gip_exp.llm.request import Request, cache_key
from gip_exp.llm.rubric import HIGHEST, Rubric

_COMMENT_TOKENS = 40
_THINKING_SHARE = 4  # a reasoning model is assumed to use a quarter of its allowance


@dataclass(frozen=True)
class Estimate:
    """Calls still to be made and their cost, without retries. Tokens are estimated at 4 bytes each.

    Attributes:
        examples: examples in the pool.
        calls: calls to make.
        cached: votes that are in the reply cache.
        prompt_tokens: tokens of all prompts.
        completion_tokens: tokens of all replies, as expected.
        cost_usd: expected cost; None if the model has no price.
        most_cost_usd: cost if every reply reaches its limit; None if the model has no price.
        batch_cost_usd: expected cost through the provider's batch endpoint; None if the model has no price.
    """

    examples: int
    calls: int
    cached: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    most_cost_usd: float | None
    batch_cost_usd: float | None = None

    def __str__(self) -> str:
        tokens = f"about {self.prompt_tokens:,} prompt and {self.completion_tokens:,} completion tokens"
        if self.cost_usd is None:
            money = "cost unknown: the model has no entry in the price table"
        else:
            money = f"about {self.cost_usd:,.2f} USD, at most about {self.most_cost_usd:,.2f} USD"
            if self.cost_usd:
                money += f"; in batches (batch=true) about {self.batch_cost_usd:,.2f} USD"
        return (
            f"{self.examples:,} examples: {self.calls:,} calls to make, {self.cached:,} answered by the "
            f"cache; {tokens}; {money}"
        )


def estimate_pool(
    examples: Sequence[Example], rubric: Rubric, settings: JudgeSettings, *, cache_dir: Path
) -> Estimate:
    """Return what `judge_pool` with the same arguments would cost. Sends nothing and needs no key."""
    settings.check()
    check_examples(examples)
    asked: set[str] = set()
    prompt = cached = 0
    schema = guess_tokens(json.dumps(dict(rubric.schema().body)))
    with Cache(cache_dir, refresh_s=3600) as cache:
        for example in examples:
            for vote in range(settings.votes):
                _, request = walk(example, rubric, settings, vote, cache)
                if request is None or (key := cache_key(request, settings.endpoint)) in asked:
                    cached += 1
                    continue
                asked.add(key)
                prompt += schema + sum(guess_tokens(m["content"]) + 4 for m in request.messages)
    calls, endpoint = len(asked), settings.endpoint
    each, most = _completion_tokens(rubric, settings)
    price = find_price(endpoint.prices, endpoint.model)
    cost = None if price is None else price.cost(prompt, calls * each)
    return Estimate(
        examples=len(examples),
        calls=calls,
        cached=cached,
        prompt_tokens=prompt,
        completion_tokens=calls * each,
        cost_usd=cost,
        batch_cost_usd=None if cost is None else cost * endpoint.batch_share,
        most_cost_usd=None if price is None else price.cost(prompt, calls * most),
    )


def _completion_tokens(rubric: Rubric, settings: JudgeSettings) -> tuple[int, int]:
    """Return (expected, maximum) tokens of one reply, including hidden reasoning."""
    endpoint = settings.endpoint
    each = guess_tokens(json.dumps(dict.fromkeys(rubric.names, HIGHEST)))
    each += _COMMENT_TOKENS if rubric.comment else 0
    most = settings.sampling.max_tokens
    if endpoint.is_reasoning_model:
        each += endpoint.reasoning_tokens // _THINKING_SHARE
        most += endpoint.reasoning_tokens
    return each, most


def walk(
    example: Example, rubric: Rubric, settings: JudgeSettings, vote: int, cache: Cache
) -> tuple[list[Request], Request | None]:
    """Return the requests of a vote that the cache answers, and the next one to make (None if none is needed)."""
    answered: list[Request] = []
    first_key = ""
    for used, request in enumerate(vote_requests(example, rubric, settings, vote)):
        key = cache_key(request, settings.endpoint)
        first_key = first_key or key
        if used >= cache.gave_up(first_key) + 1 + settings.content_retries:
            break
        reply = cache.get(key)
        if reply is None:
            return answered, request
        answered.append(request)
        if read_reply(reply, rubric).scores is not None:
            break
    return answered, None
