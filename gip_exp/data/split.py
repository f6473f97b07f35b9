"""Splitting the training rows into the pool of every method and the held-out target."""

from dataclasses import dataclass

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
    """Return the length of a ranking: the smallest of the pool, its half, its fifth, and halves of that, with the budget.

    So no budget up to 20 % costs more than twice its own picks, and budgets of one class share a ranking.

    Example:
        >>> rank_to(1000, 100_000), rank_to(4000, 100_000), rank_to(60_000, 100_000)
        (1250, 5000, 100000)
    """
    length, fewer = n_pool, [-(-n_pool // 2), -(-n_pool // 5)]
    while fewer[0] >= n_selected and fewer[0] < length:
        length = fewer.pop(0)
        fewer = fewer or [-(-length // 2)]
    return length
