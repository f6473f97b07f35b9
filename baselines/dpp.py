"""Greedy MAP of a determinantal point process (Chen et al., arXiv 1709.05135): rows that span a large volume.

Symbols: F (n x d) unit rows f_i, lam = ridge > 0, K = F F^T + lam I; the greedy rule adds the row that raises
log det K_S most. With A = lam I + F_S^T F_S the conditional variance of row j given S is
g_j = lam (1 + f_j^T A^-1 f_j), and picking i changes it by -(lam f_j^T A^-1 f_i)^2 / g_i, so a pick costs
O(n d) and no n x n matrix exists. lam keeps the determinant away from 0 beyond d picks.

One product reads the pool for up to `_LOOK` picks: the rule runs ahead on the rows with the largest g_j, and the
columns F A^-1 f_i of the rows it came upon are computed together. A wrong guess costs a column and nothing else.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from annotated_types import Gt

from baselines._checks import FloatArray, as_float64, check_pool, ranking, unit_rows
from selection.checks import Problems
from selection.types import Selection

_LOOK = 24  # columns that one product computes at most
_LEADERS = 128  # rows on which the rule runs ahead
_LEAST_RIDGE = 1e-12  # below it float64 cannot tell lam from the rounding of unit rows


def select(
    features: Any, budget: int | float, *, ridge: Annotated[float, Gt(0)] = 1.0, candidates: Any = None
) -> Selection:
    """Pick rows by the largest gain in log det; nested in budget, deterministic, ties to the lowest index.

    Args:
        features: (n, d) embeddings, array or tensor; only directions matter. Rows outside `candidates` are
            not read.
        budget: count or share of n (see `baselines._checks`).
        ridge: lam >= 1e-12; the smaller, the more a repeated direction costs.
        candidates: optional boolean mask (n,).

    Returns:
        Selection; gains are increases of log det K_S in nats, `objective["log_det"]` their sum.

    Raises:
        ValueError: naming every bad argument, or the first zero row.

    Example:
        The repeated direction comes last.

        >>> import numpy as np
        >>> select(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), 3).indices.tolist()
        [0, 2, 1]
    """
    problems = Problems()
    matrix = as_float64(problems, "features", features, candidates)
    rows, count = check_pool(problems, len(matrix), budget, candidates)
    problems.number("ridge", ridge, low=_LEAST_RIDGE)
    problems.raise_if_any()
    F = unit_rows(matrix, rows)
    picks, gains = np.empty(count, dtype=np.int64), np.empty(count)
    g, columns = np.full(len(F), ridge + 1.0), _Columns(F, ridge)
    for t in range(count):
        pick = _first_largest(g)
        picks[t], gains[t] = pick, np.log(g[pick])
        u = columns.take(pick, g, count - t)
        g -= (ridge * u) ** 2 / g[pick]
        g[pick] = -np.inf
    return ranking(rows[picks], gains, objective={"log_det": float(gains.sum())})


def _first_largest(g: FloatArray) -> int:
    """Return the lowest row with the largest variance; all start equal, and rounding must not break ties."""
    return int((g >= g.max() * (1.0 - 1e-12)).argmax())


class _Columns:
    """Columns F A^-1 f_i, computed ahead for the rows that may well be picked next.

    inverse: A^-1 as it was when the columns were computed. Picked since then, for each: its column `used` (n,)
    in the A^-1 of its time, its `vector` A^-1 f (d,) likewise, and `den` = 1 + f^T A^-1 f.
    """

    def __init__(self, F: FloatArray, ridge: float) -> None:
        self.F, self.inverse = F, np.eye(F.shape[1]) / ridge
        self.ahead: dict[int, tuple[FloatArray, FloatArray]] = {}
        self.used, self.vectors = np.empty((_LOOK, len(F))), np.empty((_LOOK, F.shape[1]))
        self.den, self.made, self.look = np.empty(_LOOK), 0, _LOOK

    def take(self, row: int, g: FloatArray, to_go: int) -> FloatArray:
        """Return F A^-1 f of `row` (n,), and add the row to A; `g` holds -inf for picked rows."""
        if row not in self.ahead:
            self._look_ahead(row, g, to_go)
        column, vector = self.ahead.pop(row)
        at = self.made
        share = self.used[:at, row] / self.den[:at]  # what the picks since then took away from A^-1
        self.used[at] = column - share @ self.used[:at]
        self.vectors[at] = vector - share @ self.vectors[:at]
        self.den[at] = 1.0 + self.used[at, row]
        self.made = at + 1
        return self.used[at]

    def _look_ahead(self, row: int, g: FloatArray, to_go: int) -> None:
        past = self.vectors[: self.made]
        self.inverse -= past.T @ (past / self.den[: self.made, None])
        # Where guesses fail, fewer are made.
        self.look = min(_LOOK, to_go, max(2, 2 * self.made)) if self.ahead else min(_LOOK, to_go)
        order = np.argsort(-g, kind="stable")[:_LEADERS]
        leaders = np.concatenate([[row], order[(order != row) & (g[order] > -np.inf)]])
        vectors = self.F[leaders] @ self.inverse
        guessed = _run_ahead(vectors @ self.F[leaders].T, self.look)
        chosen = vectors[guessed]
        columns = chosen @ self.F.T
        self.ahead = dict(zip(leaders[guessed].tolist(), zip(columns, chosen, strict=True), strict=True))
        self.made = 0


def _run_ahead(K: FloatArray, count: int) -> list[int]:
    """Return up to `count` picks of the greedy rule from K = F A^-1 F^T of a few rows, the first one given."""
    guessed, at, free = [], 0, np.ones(len(K), dtype=bool)
    for _ in range(min(count, len(K))):
        guessed.append(at)
        free[at] = False
        K -= np.outer(K[:, at], K[at] / (1.0 + K[at, at]))
        at = _first_largest(np.where(free, 1.0 + K.diagonal(), -np.inf))
    return guessed
