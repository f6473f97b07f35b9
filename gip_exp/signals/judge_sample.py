"""Judging a seeded sample of the pool first (`judge.sample`), with the price of the whole.

A run must not select from a pool that is judged in part, so `judge.sample` goes with `until=score`.
"""

from typing import TYPE_CHECKING

import numpy as np

from gip_exp.config import Config
from gip_exp.config.judge import LLMJudge

if TYPE_CHECKING:
    from gip_exp.llm.estimate import Estimate


def missing(config: Config) -> list[str]:
    """Return a problem if the run would go on to select from the sample's scores."""
    if not isinstance(config.judge, LLMJudge) or config.judge.sample is None or config.until == "score":
        return []
    return [
        f"judge.sample={config.judge.sample}: a part of the pool is judged, and nothing may be selected from that: give "
        "until=score, or unset judge.sample"
    ]


def rows(config: Config, n: int) -> np.ndarray | None:
    """Return the rows to judge of a pool of n, ascending: a sample seeded by the run; None for all.

    A smaller sample of the same pool and seed is part of a larger one.
    """
    size = config.judge.sample if isinstance(config.judge, LLMJudge) else None
    if size is None or size >= n:
        return None
    return np.sort(np.random.default_rng(config.seed).permutation(n)[:size])


def scattered(values: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    """Return n numbers: the values at their rows, NaN elsewhere."""
    full = np.full(n, np.nan)
    full[rows] = values
    return full


def price(whole: "Estimate", n: int, size: int, spent_usd: float | None) -> str:
    """Return what the whole pool costs, as text.

    Args:
        whole: estimate for the whole pool, where the replies to the sample are in the cache.
        n: rows of the pool.
        size: rows of the sample.
        spent_usd: what the replies to the sample cost; None without a price.
    """
    if not spent_usd:
        return f"the whole pool, {whole}"
    each = spent_usd / size
    return f"the whole pool, {whole}; by the cost of the sample ({each:.2g} USD a row) about {each * (n - size):,.2f} USD"
