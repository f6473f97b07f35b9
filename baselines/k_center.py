"""k-center: farthest-first traversal (Gonzalez 1985; as core-set: Sener and Savarese, arXiv 1708.00489).

The next pick is the row with the largest Euclidean distance to the picks so far; the covering radius is at
most twice the smallest possible one. Quality plays no part, and outliers are picked early.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines._checks import as_float64, check_pool, ranking
from selection.checks import Problems
from selection.types import Seed, Selection


def select(features: Any, budget: int | float, *, seed: Seed, candidates: Any = None) -> Selection:
    """Pick rows that leave no row far from a pick; nested in budget.

    Args:
        features: (n, d) embeddings, array or tensor, not rescaled; rows outside `candidates` are not read.
        budget: count or share of n (see `baselines._checks`).
        seed: seed of the first pick.
        candidates: optional boolean mask (n,).

    Returns:
        Selection; gains are distances to the nearest earlier pick (0 for the first), `objective["radius"]`
        is the largest distance of a candidate to its nearest pick.

    Raises:
        ValueError: naming every bad argument.

    Example:
        >>> import numpy as np
        >>> picked = select(np.array([[0.0], [1.0], [10.0]]), 2, seed=0)
        >>> picked.indices.tolist(), picked.objective["radius"]
        ([2, 0], 1.0)
    """
    problems = Problems()
    matrix = as_float64(problems, "features", features, candidates)
    rows, count = check_pool(problems, len(matrix), budget, candidates, seed=seed)
    problems.raise_if_any()
    X = matrix[rows]
    X -= X.mean(axis=0)  # distances do not change, and the expansion below loses less to rounding
    square = np.einsum("ij,ij->i", X, X)
    nearest = np.full(len(X), np.inf)
    picks, gains = np.empty(count, dtype=np.int64), np.zeros(count)
    pick = int(np.random.default_rng(seed).integers(len(X)))
    for t in range(count):
        if t:
            pick = int(nearest.argmax())
            gains[t] = np.sqrt(max(0.0, nearest[pick]))
        picks[t] = pick
        np.minimum(nearest, np.maximum(square + square[pick] - 2.0 * (X @ X[pick]), 0.0), out=nearest)
        nearest[pick] = -1.0  # below every distance, so never picked again
    radius = float(np.sqrt(max(0.0, nearest.max())))
    return ranking(rows[picks], gains, objective={"radius": radius})
