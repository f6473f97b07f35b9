"""The whole pool, in its own order: the reference for every selected subset."""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines._checks import check_pool, ranking
from selection.checks import Problems
from selection.types import Selection


def select(n: int, budget: int | float = 1.0, *, candidates: Any = None) -> Selection:  # noqa: ARG001
    """Pick every row, lowest index first.

    Args:
        n: rows of the pool.
        budget: has no effect; it is there because every method has one.
        candidates: optional boolean mask (n,); other rows are left out.

    Returns:
        Selection with zero gains.

    Raises:
        ValueError: naming every bad argument.

    Example:
        >>> select(3).indices.tolist()
        [0, 1, 2]
    """
    problems = Problems()
    rows, _ = check_pool(problems, n, 1, candidates)
    problems.raise_if_any()
    return ranking(rows, np.zeros(len(rows)))
