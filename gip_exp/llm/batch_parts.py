"""Cutting requests into batches: the provider's limits, and the limit on money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gip_exp.llm.batch_api import line_of
from gip_exp.llm.errors import BudgetReachedError
from gip_exp.llm.job import price_of
from gip_exp.llm.request import Request
from gip_exp.llm.settings import EndpointSettings
from gip_exp.llm.wire import most_tokens

MOST_REQUESTS = (
    50_000  # of a batch, OpenAI's limit (Azure allows more): platform.openai.com/docs/guides/batch
)
MOST_BYTES = 190_000_000  # of a batch's file, below the limit of 200 MB


@dataclass(frozen=True)
class BatchSettings:
    """How batches are used.

    Attributes:
        rest: what becomes of requests that a batch left without a reply: live, batch or unscored.
        wait_s: how long a process waits for its batches before it ends; they go on.
        poll_s: seconds between looks at the batches, at most; the first come sooner.
        most_requests: requests per batch.
        most_bytes: bytes per batch.
    """

    rest: str = "live"
    wait_s: float = 600.0
    poll_s: float = 30.0
    most_requests: int = MOST_REQUESTS
    most_bytes: int = MOST_BYTES


@dataclass
class Part:
    """The requests of one batch to be, and the most they may cost in USD."""

    keys: list[str] = field(default_factory=list)
    usd: float = 0.0


def cut(
    free: Mapping[str, Request],
    settings: EndpointSettings,
    batch: BatchSettings,
    spent: float,
    reserved: float,
) -> list[Part]:
    """Cut requests into batches within the provider's limits and the cost limit.

    Args:
        free: requests to send, by key.
        settings: the endpoint, with prices and the cost limit.
        batch: the provider's limits.
        spent: cost of the job so far, in USD.
        reserved: the most that open batches may cost, in USD.

    Returns:
        As many batches as the cost limit allows; what they cost less than reserved is left for the next ones.

    Raises:
        BudgetReachedError: not even the first request fits, and no batch is open that could make room.
    """
    limit, price = settings.max_cost_usd, price_of(settings)
    parts: list[Part] = []
    total, size = spent + reserved, 0
    for key, request in free.items():
        usd = 0.0 if price is None else settings.batch_share * price.cost(*most_tokens(request, settings))
        if limit is not None and total + usd > limit:
            if parts or reserved:
                break
            raise BudgetReachedError(
                f"max_cost_usd={limit:g} would be exceeded: {spent:.4f} USD are spent and the next request of a batch may "
                f"cost up to {usd:.4f} USD. All replies paid for are kept; raise max_cost_usd and start again."
            )
        length = len(line_of(key, request, settings)) + 1
        if not parts or len(parts[-1].keys) >= batch.most_requests or size + length > batch.most_bytes:
            parts.append(Part())
            size = 0
        parts[-1].keys.append(key)
        parts[-1].usd += usd
        size += length
        total += usd
    return parts
