"""Random selection: a seeded permutation of the pool, the baseline for every other method."""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines._checks import check_pool, ranking
from selection.checks import Problems
from selection.types import Seed, Selection


def select(n: int, budget: int | float, *, seed: Seed, candidates: Any = None) -> Selection:
    """Pick uniformly without replacement.

    Args:
        n: rows of the pool.
        budget: count or share of n (see `baselines._checks`).
        seed: seed of the permutation; the same seed gives the same order whatever the budget, so picks are
            nested.
        candidates: optional boolean mask (n,). The permutation is drawn over all n rows and then thinned, so
            that masks that differ little give subsets that differ little.

    Returns:
        Selection with zero gains (no row is worth more than another).

    Raises:
        ValueError: naming every bad argument.

    Example:
        >>> select(10, 0.3, seed=0).indices.tolist()
        [4, 6, 2]
    """
    problems = Problems()
    rows, count = check_pool(problems, n, budget, candidates, seed=seed)
    problems.raise_if_any()
    order = np.random.default_rng(seed).permutation(n)
    order = order[np.isin(order, rows, assume_unique=True)]
    return ranking(order[:count], np.zeros(count))
