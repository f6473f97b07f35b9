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


SHARES = (0.002, 0.02, 0.2, 0.5)  # of the pool, beside all of it


def rank_to(n_selected: int, n_pool: int) -> int:
    """Return the length of a ranking: the smallest share of the pool in `SHARES` that covers the budget.

    Budgets of one class share a ranking, so a sweep over budgets up to 20 % ranks once, and a single small budget does
    not pay for that.

    Example:
        >>> rank_to(1000, 100_000), rank_to(2500, 100_000), rank_to(60_000, 100_000)
        (2000, 20000, 100000)
    """
    lengths = (round(share * n_pool) for share in SHARES)
    return next((length for length in lengths if n_selected <= length), n_pool)
