"""Splitting the training rows into the pool of every method and the held-out target."""

from dataclasses import dataclass
from itertools import chain
from itertools import count as count_from

import numpy as np

from gip_exp.config.target import Target
from gip_exp.errors import UserError


@dataclass(frozen=True)
class Split:
    """Row indices (int64, ascending): `pool` may be selected, `target` is held out for every method."""

    pool: np.ndarray
    target: np.ndarray


def split(n_rows: int, target: Target) -> Split:
    """Hold out min(target.n, target.max_share of the rows), drawn with `target.seed`, not the run's seed."""
    n_target = min(target.n, int(target.max_share * n_rows))
    drawn = np.random.default_rng(target.seed).permutation(n_rows)[:n_target]
    held_out = np.zeros(n_rows, dtype=bool)
    held_out[drawn] = True
    return Split(pool=np.flatnonzero(~held_out), target=np.flatnonzero(held_out))


def count(budget: int | float, n_pool: int) -> int:
    """Return the number of rows of a budget: an int is a count, a float a share (rounded, at least 1)."""
    if isinstance(budget, int):
        if budget > n_pool:
            raise UserError(
                f"budget={budget} exceeds the pool of {n_pool} rows, which excludes the held-out target rows (target.n); "
                f"give a count of at most {n_pool}, or a share in (0, 1.0]"
            )
        return budget
    return max(1, round(budget * n_pool))


def rank_to(n_selected: int, n_pool: int) -> int:
    """Return the length of a ranking: the smallest of 100, 50, 20, 10, 5, 2.5, 1, 0.5, 0.25, 0.1 % ... with the budget.

    Budgets in between share the ranking of the next larger of these, which are common budgets and cost no more
    than their own picks.

    Example:
        >>> rank_to(1000, 100_000), rank_to(4000, 100_000), rank_to(60_000, 100_000)
        (1000, 5000, 100000)
    """
    decades = (factor * 10**power for power in count_from(1) for factor in (1, 2, 4))
    length = n_pool
    for divisor in chain((2, 5), decades):
        shorter = -(-n_pool // divisor)
        if shorter < n_selected or shorter == length:
            break
        length = shorter
    return length
