"""Facility location: greedy cover of the pool by similar picks.

Symbols: u_ij = max(0, cosine of rows i and j); f(S) = sum_i max over j in S of u_ij (0 for the empty set).
f is monotone and submodular, so the greedy rule reaches at least 1 - 1/e of the best value (Nemhauser et al.
1978), and a gain computed earlier is an upper bound of the current one (Minoux 1978): only rows whose bound
can still win are evaluated again, in blocks, and the n x n similarities are never held at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines._checks import FloatArray, IntArray, as_float64, check_pool, ranking, unit_rows
from selection.checks import Problems
from selection.types import Selection

_BLOCK = 64  # candidates evaluated in one product


def select(features: Any, budget: int | float, *, candidates: Any = None) -> Selection:
    """Pick rows that together resemble every row; nested in budget, deterministic, ties to the lowest index.

    Args:
        features: (n, d) embeddings, array or tensor; only directions matter. Rows outside `candidates` are
            neither picked nor covered.
        budget: count or share of n (see `baselines._checks`).
        candidates: optional boolean mask (n,).

    Returns:
        Selection; gains are increases of f, `objective["coverage"]` is f / n over the candidates, in [0, 1].

    Raises:
        ValueError: naming every bad argument, or the first zero row.

    Example:
        >>> import numpy as np
        >>> features = np.array([[1.0, 0.0], [0.9, 0.1], [0.8, 0.2], [0.0, 1.0]])
        >>> select(features, 2).indices.tolist()
        [2, 3]
    """
    problems = Problems()
    matrix = as_float64(problems, "features", features, candidates)
    rows, count = check_pool(problems, len(matrix), budget, candidates)
    problems.raise_if_any()
    X = unit_rows(matrix, rows)
    covered = np.zeros(len(X))
    bounds = np.concatenate(
        [_gains(X, np.arange(s, min(s + _BLOCK, len(X))), covered) for s in range(0, len(X), _BLOCK)]
    )
    picks, gains = np.empty(count, dtype=np.int64), np.empty(count)
    for t in range(count):
        picks[t], gains[t] = _best(X, covered, bounds, fresh=t == 0)
        bounds[picks[t]] = -np.inf
        np.maximum(covered, X @ X[picks[t]], out=covered)
    return ranking(rows[picks], gains, objective={"coverage": float(covered.mean())})


def _gains(X: FloatArray, block: IntArray, covered: FloatArray) -> FloatArray:
    """Return the increase of f (len(block),) for each row of `block`, given the current cover (n,) >= 0."""
    similarity = X @ X[block].T
    similarity -= covered[:, None]
    np.maximum(similarity, 0.0, out=similarity)
    return similarity.sum(axis=0)


def _best(X: FloatArray, covered: FloatArray, bounds: FloatArray, *, fresh: bool) -> tuple[int, float]:
    """Return the row with the largest gain, and the gain; tightens `bounds` in place for every row it evaluates."""
    close = 1e-12 * len(X)  # rounding differs between blocks: gains this close count as ties
    # No gain is below 0, so a bound close to 0 need not be evaluated again.
    checked = (bounds <= close) | fresh
    while True:
        top = bounds.max()
        tied = bounds >= top - close
        open_rows = np.flatnonzero(tied & ~checked)
        if not len(open_rows):
            best = int(tied.argmax())
            return best, float(bounds[best])
        waiting = np.where(checked, -np.inf, bounds)
        size = min(_BLOCK, int((waiting > -np.inf).sum()))
        block = np.sort(np.argpartition(-waiting, size - 1)[:size])
        bounds[block] = np.minimum(bounds[block], _gains(X, block, covered))
        checked[block] = True
