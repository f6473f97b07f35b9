"""Top score: the rows with the highest mean score, without regard for diversity.

Symbols: S (n x k) scores, one column per signal, larger is better. Each column is divided by its root mean
square, as GIP does by default, so that both see the same numbers; the score of a row is the mean over columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines._checks import FloatArray, IntArray, as_float64, check_pool, ranking
from selection.checks import Problems, check_candidates
from selection.types import Selection


def mean_scores(scores: FloatArray, rows: IntArray) -> FloatArray:
    """Return the mean of each row over columns that are divided by their root mean square.

    Args:
        scores: (n, k) float64; rows outside `rows` may hold NaN and get NaN.
        rows: (m,) row numbers over which the root mean squares are taken.

    Returns:
        (n,) float64.

    Example:
        >>> import numpy as np
        >>> mean_scores(np.array([[1.0, 10.0], [1.0, 10.0]]), np.arange(2)).tolist()
        [1.0, 1.0]
    """
    # Divide by a power of two first, which is exact, so that squares neither overflow nor underflow.
    scores = np.ldexp(scores, -np.frexp(np.abs(scores[rows]).max(axis=0))[1])
    scale = np.sqrt(np.mean(np.square(scores[rows]), axis=0))
    return (scores / scale).mean(axis=1)


def checked_scores(problems: Problems, scores: Any, candidates: Any) -> FloatArray:
    """Return `scores` as float64 (n, k), noting problems instead of raising.

    Args:
        problems: NaN, inf and columns that are all zero are noted here.
        scores: (n, k), or (n,) for one column; array or tensor.
        candidates: optional boolean mask (n,); other rows are not checked.

    Returns:
        (n, k) float64; zeros if a problem was noted.

    Example:
        >>> import numpy as np
        >>> checked_scores(Problems(), np.array([1, 2]), None).tolist()
        [[1.0], [2.0]]
    """
    if np.ndim(scores) == 1 and hasattr(scores, "shape"):
        scores = scores[:, None]
    noted = len(problems.messages)
    matrix = as_float64(problems, "scores", scores, candidates)
    if len(problems.messages) > noted:
        return matrix
    mask = check_candidates(Problems(), candidates, len(matrix))
    seen = matrix if mask is None else matrix[mask]
    for column in np.flatnonzero((seen == 0).all(axis=0)):
        problems.add(
            "scores", f"column {int(column)} is zero for every candidate, so it ranks nothing; leave it out"
        )
    return matrix


def select(scores: Any, budget: int | float, *, candidates: Any = None) -> Selection:
    """Pick the rows with the largest mean score; ties go to the lowest index, picks are nested in budget.

    Args:
        scores: (n, k), or (n,) for one signal; array or tensor. Rows outside `candidates` may hold NaN.
        budget: count or share of n (see `baselines._checks`).
        candidates: optional boolean mask (n,); the column scale is taken over candidates.

    Returns:
        Selection; gains are the mean scaled scores of the picks, `objective["mean_score"]` their average.

    Raises:
        ValueError: naming every bad argument.

    Example:
        >>> import numpy as np
        >>> select(np.array([[1.0, 2.0], [5.0, 4.0], [3.0, 3.0]]), 2).indices.tolist()
        [1, 2]
    """
    problems = Problems()
    matrix = checked_scores(problems, scores, candidates)
    rows, count = check_pool(problems, len(matrix), budget, candidates)
    problems.raise_if_any()
    mean = mean_scores(matrix, rows)
    picks = rows[np.argsort(-mean[rows], kind="stable")][:count]
    return ranking(picks, mean[picks], objective={"mean_score": float(mean[picks].mean())})
