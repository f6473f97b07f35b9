"""Facility location: greedy cover of the pool by similar picks.

Symbols: u_ij = max(0, cosine of rows i and j); f(S) = sum_i max over j in S of u_ij (0 for the empty set).
f is monotone and submodular, so the greedy rule reaches at least 1 - 1/e of the best value (Nemhauser et al.
1978), and a gain computed earlier is an upper bound of the current one (Minoux 1978): only rows whose bound
can still win are evaluated again, in blocks. Rows that compete are evaluated many times, so their similarities are
kept, those of all rows where `_KEPT` bytes suffice (11,585 rows), else those evaluated last; the first bounds of a
larger pool are float32 sums plus all that rounding can have taken from them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines._checks import FloatArray, IntArray, as_float64, check_pool, ranking, unit_rows
from selection.checks import Problems
from selection.types import Selection

_FIRST_BLOCK = 256  # rows whose first bounds are computed in one product
_BLOCK = 16  # candidates evaluated together
_KEPT = 2**30  # bytes of similarities that are kept


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
    cover = Cover(unit_rows(matrix, rows))
    picks, gains = cover.greedy(count)
    return ranking(rows[picks], gains, objective={"coverage": cover.coverage()})


class Cover:
    """The lazy greedy rule for share * f(S) plus the sum of a bonus of each pick."""

    def __init__(self, X: FloatArray) -> None:
        self._similar = _Similarities(X)
        self._covered = np.zeros(len(X))
        self._first = self._similar.first_bounds()

    def largest_gain(self) -> float:
        """Return an upper bound of f of a single row: exact where all similarities are kept."""
        return float(self._first.max())

    def coverage(self) -> float:
        """Return f / n after the last pick."""
        return float(self._covered.mean())

    def greedy(
        self, count: int, *, share: float = 1.0, bonus: FloatArray | None = None
    ) -> tuple[IntArray, FloatArray]:
        """Return (picks, gains) of `count` picks."""
        extra = np.zeros(len(self._first)) if bonus is None else bonus
        bounds = share * self._first + extra
        picks, gains = np.empty(count, dtype=np.int64), np.empty(count)
        for t in range(count):
            picks[t], gains[t] = _best(self._similar, self._covered, bounds, share=share, bonus=extra)
            bounds[picks[t]] = -np.inf
            np.maximum(self._covered, self._similar.of(picks[t : t + 1])[0], out=self._covered)
        return picks, gains


class _Similarities:
    """Rows of u = max(0, X X^T) in float64; as many as `_KEPT` bytes hold are kept, the oldest given up first."""

    def __init__(self, X: FloatArray) -> None:
        self.X = X
        self.kept = np.empty((min(len(X), max(_BLOCK, _KEPT // (8 * len(X)))), len(X)))
        self.slot = np.full(len(X), -1)
        self.owner, self.next = np.full(len(self.kept), -1), 0

    def first_bounds(self) -> FloatArray:
        """Return upper bounds (n,) of f of each single row."""
        n = len(self.X)
        if len(self.kept) == n:
            np.matmul(self.X, self.X.T, out=self.kept)
            np.maximum(self.kept, 0.0, out=self.kept)
            self.slot = self.owner = np.arange(n)
            return self.kept.sum(axis=1)
        rounded, bounds = self.X.astype(np.float32), np.empty(n)
        for start in range(0, n, _FIRST_BLOCK):
            block = np.maximum(rounded[start : start + _FIRST_BLOCK] @ rounded.T, 0.0)
            bounds[start : start + _FIRST_BLOCK] = block.sum(axis=1, dtype=np.float64)
        # Rounding of a product of unit rows (Higham, Accuracy and Stability, 3.1), and of its factors before it.
        return bounds + n * (self.X.shape[1] + 4) * float(np.finfo(np.float32).eps)

    def of(self, block: IntArray) -> FloatArray:
        """Return u (len(block), n) of at most `_BLOCK` rows."""
        new = block[self.slot[block] < 0]
        if len(new):
            slots = (self.next + np.arange(len(new))) % len(self.kept)
            left = self.owner[slots]
            self.slot[left[left >= 0]] = -1
            self.owner[slots], self.slot[new] = new, slots
            self.next = int(slots[-1] + 1) % len(self.kept)
            self.kept[slots] = np.maximum(self.X[new] @ self.X.T, 0.0)
            if (self.slot[block] < 0).any():  # a row of this block was the oldest
                return np.maximum(self.X[block] @ self.X.T, 0.0)
        return self.kept[self.slot[block]]


def _gains(similar: _Similarities, block: IntArray, covered: FloatArray) -> FloatArray:
    """Return the increase of f (len(block),) for each row of `block`, given the current cover (n,) >= 0."""
    more = similar.of(block)
    more -= covered
    np.maximum(more, 0.0, out=more)
    return more.sum(axis=1)


def _best(
    similar: _Similarities, covered: FloatArray, bounds: FloatArray, *, share: float, bonus: FloatArray
) -> tuple[int, float]:
    """Return the row with the largest gain, and the gain; tightens `bounds` in place for every row it evaluates."""
    close = 1e-12 * len(covered) * share  # rounding differs between blocks: gains this close count as ties
    # No gain in cover is below 0, so a bound close to the bonus need not be evaluated again.
    checked = bounds <= bonus + close
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
        bounds[block] = np.minimum(bounds[block], share * _gains(similar, block, covered) + bonus[block])
        checked[block] = True
