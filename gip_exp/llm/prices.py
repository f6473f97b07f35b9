"""Money: the cost of a call, its upper bound, and stopping before a limit is exceeded."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gip_exp.llm.errors import BudgetReachedError, LLMError

_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{4})$")


@dataclass(frozen=True)
class Price:
    """Price in USD per million tokens; `cached_input` is for prompt tokens cached by the provider (None: as input)."""

    input: float
    output: float
    cached_input: float | None = None

    def __post_init__(self) -> None:
        values = {"input": self.input, "output": self.output, "cached_input": self.cached_input}
        bad = [f"{k}={v}" for k, v in values.items() if v is not None and not 0 <= v < float("inf")]
        if bad:
            raise LLMError(f"price table: {', '.join(bad)}; allowed: USD per million tokens, 0 or more.")

    def cost(self, prompt: int, completion: int, cached: int = 0) -> float:
        """Return USD for one call; `cached` of the `prompt` tokens were served from the provider's cache."""
        cached_rate = self.input if self.cached_input is None else self.cached_input
        return ((prompt - cached) * self.input + cached * cached_rate + completion * self.output) / 1e6


def find_price(prices: Mapping[str, Price], model: str) -> Price | None:
    """Return the price of `model`: by its exact name, else by its name without a date, else None."""
    if model in prices:
        return prices[model]
    return prices.get(_DATED.sub("", model))


class Budget:
    """Keeps the cost of a job under a limit with calls in flight.

    Each call reserves its maximum cost before it is sent and settles its real cost afterwards; spent + reserved never
    exceeds the limit. If a reservation does not fit, the call waits for others to settle; if nothing is in flight it
    can never fit, and BudgetReachedError is raised.
    """

    def __init__(self, limit_usd: float | None) -> None:
        self.limit_usd = limit_usd
        self.spent_usd = 0.0
        self._reserved = 0.0
        self._open = 0
        self._overshoot = 1.0
        self._settled = asyncio.Condition()

    def enter_loop(self) -> None:
        """Prepare for use in another event loop, with what is spent so far."""
        self._settled, self._reserved, self._open = asyncio.Condition(), 0.0, 0

    async def reserve(self, most_usd: float) -> float:
        """Wait until a call of at most `most_usd` fits, and return the amount reserved for it.

        If the endpoint bills more than the bound (for instance for hidden prompt text), later reservations are
        increased accordingly.

        Raises:
            BudgetReachedError: it can never fit.
        """
        async with self._settled:
            most_usd *= self._overshoot
            while not self._fits(most_usd):
                if self._open == 0:
                    raise BudgetReachedError(
                        f"max_cost_usd={self.limit_usd:g} would be exceeded: {self.spent_usd:.4f} USD are "
                        f"spent and the next call may cost up to {most_usd:.4f} USD. All replies paid for "
                        "are kept; raise max_cost_usd and start again to continue from here."
                    )
                await self._settled.wait()
            self._reserved += most_usd
            self._open += 1
            return most_usd

    async def settle(self, reserved_usd: float, cost_usd: float) -> None:
        """Release a reservation and record the real cost of the call (0 for a fault)."""
        async with self._settled:
            if cost_usd > reserved_usd > 0:
                self._overshoot *= cost_usd / reserved_usd
            self._open -= 1
            self._reserved -= reserved_usd
            if self._open == 0:
                self._reserved = 0.0  # removes rounding errors
            self.spent_usd += cost_usd
            self._settled.notify_all()

    def _fits(self, most_usd: float) -> bool:
        return self.limit_usd is None or self.spent_usd + self._reserved + most_usd <= self.limit_usd
