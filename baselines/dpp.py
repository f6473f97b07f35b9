"""Greedy MAP of a determinantal point process (Chen et al., arXiv 1709.05135): rows that span a large volume.

Symbols: F (n x d) unit rows f_i, lam = ridge > 0, K = F F^T + lam I; the greedy rule adds the row that raises
log det K_S most. With A = lam I + F_S^T F_S the conditional variance of row j given S is
g_j = lam (1 + f_j^T A^-1 f_j), and picking i changes it by -(lam f_j^T A^-1 f_i)^2 / g_i, so a pick costs
O(n d + d^2) and no n x n matrix exists. lam keeps the determinant away from 0 beyond d picks.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from annotated_types import Gt

from baselines._checks import as_float64, check_pool, ranking, unit_rows
from selection.checks import Problems
from selection.types import Selection

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
    inverse = np.eye(F.shape[1]) / ridge  # A^-1
    g = np.full(len(F), ridge + 1.0)
    picks, gains = np.empty(count, dtype=np.int64), np.empty(count)
    for t in range(count):
        # All variances start equal, and rounding must not break ties: values this close count as equal.
        pick = int((g >= g.max() * (1.0 - 1e-12)).argmax())
        picks[t], gains[t] = pick, np.log(g[pick])
        u = inverse @ F[pick]
        g -= (ridge * (F @ u)) ** 2 / g[pick]
        g[pick] = -np.inf
        inverse -= np.outer(u, u) / (1.0 + F[pick] @ u)
    return ranking(rows[picks], gains, objective={"log_det": float(gains.sum())})
