"""What the calls of a job share, and how a job is run: from synchronous code, with many calls in flight."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from gip_exp.llm.errors import LLMError
from gip_exp.llm.prices import Budget, Price, find_price
from gip_exp.llm.request import Reply, Stats
from gip_exp.llm.settings import EndpointSettings

T = TypeVar("T")


def price_of(settings: EndpointSettings) -> Price | None:
    """Return the price of the model, or None. Raises LLMError if there is a cost limit and no price to keep it by."""
    price = find_price(settings.prices, settings.model)
    if settings.max_cost_usd is not None and price is None:
        raise LLMError(
            f"max_cost_usd is set, but the price table has no entry for model {settings.model!r} "
            f"(it has: {', '.join(settings.prices) or 'nothing'}). Add its input and output price in USD "
            "per million tokens (0 for a local server)."
        )
    return price


def cost_of(reply: Reply, price: Price, settings: EndpointSettings) -> float:
    """Return what a reply cost, in USD; one from a batch costs `batch_share` of a live one."""
    usd = price.cost(reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens)
    return usd * settings.batch_share if reply.batch else usd


class Job:
    """What the calls of one job share, over any number of clients: the money limit and the counts.

    Args:
        max_cost_usd: limit of the whole job; None for none.
    """

    def __init__(self, max_cost_usd: float | None) -> None:
        self.budget = Budget(max_cost_usd)
        self.stats = Stats()
        self.booked: set[str] = set()  # keys of the replies whose cost is counted
        self.model = ""  # name in the replies so far


async def for_each(
    items: Iterable[T],
    work: Callable[[T], Awaitable[None]],
    concurrency: int,
    stop: Callable[[], bool],
    no_more: Callable[[], None],
) -> None:
    """Run `work` on every item with at most `concurrency` at a time, without one task per item.

    `no_more` is called once every item is started.
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
        no_more()

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())
    if errors:
        raise errors[0]


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
