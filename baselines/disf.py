"""DiSF: pick the subset whose features are least correlated (arXiv 2504.20644; the GIP paper writes DISF).

The pool is split at random into batches. In each batch the first pick is random; each further pick is the
candidate that leaves the smallest sum of squared off-diagonal correlations between feature columns.

Symbols, for one batch
    X (n, d)   features as passed, float64, neither centred nor scaled
    s, m       picks so far, and m = s + 1 with a candidate x
    a, C (d)   mean and (d, d) scatter matrix of the s picks: C = sum (x_i - a)(x_i - a)^T
    delta      x - a;  kappa = s / m
    v (d)      unbiased column variances of the m rows: (diag C + kappa delta^2) / (m - 1)
    w (d)      1 / (v + 1e-8)

The criterion is the sum over i != j of R_ij^2, where R = Z^T Z / (m - 1) and Z holds the m rows, centred
and divided by sqrt(v + 1e-8). The candidate adds kappa delta delta^T to the scatter matrix, so

    (m - 1)^2 ||R||_F^2 = w^T (C o C) w + 2 kappa (w delta)^T C (w delta) + kappa^2 (w . delta^2)^2

and the diagonal to subtract is sum (v w)^2: two matrix products for all candidates together, instead of one
(d, d) matrix per candidate. While s is small, C = Y^T Y is cheaper to use through the s centred picks Y.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from baselines._checks import FloatArray, IntArray, as_float64, check_count, check_pool, ranking
from selection.checks import Problems
from selection.types import Seed, Selection

_EPSILON = 1e-8  # added to each variance; with two picks every correlation is +-1, so this alone decides


def select(
    features: Any,
    budget: int | float,
    *,
    batch_size: Annotated[int, Ge(2)] = 1024,
    seed: Seed,
    candidates: Any = None,
) -> Selection:
    """Pick greedily in random batches and merge the picks; nested in budget for a given seed and batch size.

    A batch of size B gets round(budget / n * B) picks, give or take one so that the total is exact: picks are
    merged in the order of (rank within the batch + 1/2) / B (the Sainte-Lague rule of proportional seats),
    which also makes the subset for a smaller budget a prefix.

    Args:
        features: (n, d) embeddings, array or tensor; rows outside `candidates` are not read.
        budget: count or share of n (see `baselines._checks`).
        batch_size: rows per batch (the authors use 1,024 and pick 16); the last batch may be shorter.
        seed: seed of the split into batches and of the first pick of each batch.
        candidates: optional boolean mask (n,).

    Returns:
        Selection; gains are minus the criterion after each pick in its batch (0 for first picks),
        `objective["squared_correlation"]` the mean squared off-diagonal correlation of the whole subset.

    Raises:
        ValueError: naming every bad argument.

    Example:
        >>> import numpy as np
        >>> features = np.random.default_rng(0).normal(size=(20, 4))
        >>> select(features, 0.2, batch_size=10, seed=0).indices.tolist()
        [4, 0, 11, 9]
    """
    problems = Problems()
    matrix = as_float64(problems, "features", features, candidates)
    rows, count = check_pool(problems, len(matrix), budget, candidates, seed=seed)
    check_count(problems, "batch_size", batch_size)
    problems.raise_if_any()
    shuffled = np.random.default_rng(seed).permutation(rows)
    batches = [shuffled[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    owner = np.concatenate([np.full(len(batch), i) for i, batch in enumerate(batches)])
    turn = np.concatenate([(np.arange(len(batch)) + 0.5) / len(batch) for batch in batches])
    seats = owner[np.argsort(turn, kind="stable")][:count]
    indices, gains = np.empty(count, dtype=np.int64), np.empty(count)
    for i, batch in enumerate(batches):
        mine = np.flatnonzero(seats == i)
        if not len(mine):
            continue
        ordered = np.sort(batch)  # so that ties go to the lowest row of the pool
        picks, values = _greedy(matrix[ordered], len(mine), int(np.searchsorted(ordered, batch[0])))
        indices[mine], gains[mine] = ordered[picks], -values
    return ranking(
        indices, gains, objective={"squared_correlation": _mean_squared_correlation(matrix[indices])}
    )


def _greedy(X: FloatArray, k: int, first: int) -> tuple[IntArray, FloatArray]:
    """Return the picks (k,) and the criterion after each (k,), 0 for the first."""
    picks, values = [first], [0.0]
    free = np.ones(len(X), dtype=bool)
    free[first] = False
    mean, scatter = X[first].copy(), np.zeros((X.shape[1], X.shape[1]))
    for s in range(1, k):
        rows = np.flatnonzero(free)
        value = _criterion(X[rows] - mean, X[picks] - mean, scatter)
        best = int(value.argmin())
        picks.append(int(rows[best]))
        values.append(float(value[best]))
        free[rows[best]] = False
        delta = X[rows[best]] - mean
        scatter += np.outer(delta * (s / (s + 1)), delta)
        mean = X[picks].mean(axis=0)
    return np.array(picks, dtype=np.int64), np.array(values)


def _criterion(delta: FloatArray, Y: FloatArray, scatter: FloatArray) -> FloatArray:
    """Return the criterion (c,) with each candidate added: delta (c, d), centred picks Y (s, d), scatter = Y^T Y."""
    s, d = Y.shape
    kappa = s / (s + 1)
    v = (np.diagonal(scatter) + kappa * delta**2) / s
    w = 1.0 / (v + _EPSILON)
    weighted = w * delta
    if s * (s + 1) // 2 < 2 * d:
        a, b = np.triu_indices(s)
        pairs = w @ (Y[a] * Y[b]).T
        old = (pairs**2) @ np.where(a == b, 1.0, 2.0)
        cross = ((weighted @ Y.T) ** 2).sum(axis=1)
    else:
        old = ((w @ scatter**2) * w).sum(axis=1)
        cross = ((weighted @ scatter) * weighted).sum(axis=1)
    new = (weighted * delta).sum(axis=1)
    return (old + 2 * kappa * cross + (kappa * new) ** 2) / s**2 - ((v * w) ** 2).sum(axis=1)


def _mean_squared_correlation(X: FloatArray) -> float:
    """Return the mean squared off-diagonal correlation of the columns of X (m, d); 0 if there are no pairs."""
    m, d = X.shape
    if m < 2 or d < 2:
        return 0.0
    Z = (X - X.mean(axis=0)) / np.sqrt(X.var(axis=0, ddof=1) + _EPSILON)
    R = Z.T @ Z / (m - 1)
    return float(((R**2).sum() - (np.diagonal(R) ** 2).sum()) / (d * (d - 1)))
