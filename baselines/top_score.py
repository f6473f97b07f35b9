"""Top score: the rows with the best mean score, with no regard for diversity.

Symbols: S (n x k) scores, one column a signal, larger is better; each column is divided by its root mean
square (GIP's default scaling, so that both see the same numbers); a row's score is its mean scaled column.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines._checks import FloatArray, IntArray, as_float64, check_pool, ranking
from selection.checks import Problems, check_candidates
from selection.types import Selection


def mean_scores(scores: FloatArray, rows: IntArray) -> FloatArray:
    """Row means (n,) of the columns of `scores` (n, k), each divided by its root mean square over `rows`.

    Rows outside `rows` may hold NaN and get NaN.
    """
    # By a power of two first, which rounds nothing: then squares neither overflow nor vanish.
    scores = np.ldexp(scores, -np.frexp(np.abs(scores[rows]).max(axis=0))[1])
    scale = np.sqrt(np.mean(np.square(scores[rows]), axis=0))
    return (scores / scale).mean(axis=1)


def checked_scores(problems: Problems, scores: Any, candidates: Any) -> FloatArray:
    """`scores` as float64 (n, k); a vector (n,) is one column. Notes NaN, inf and all-zero columns."""
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
    """
    problems = Problems()
    matrix = checked_scores(problems, scores, candidates)
    rows, count = check_pool(problems, len(matrix), budget, candidates)
    problems.raise_if_any()
    mean = mean_scores(matrix, rows)
    picks = rows[np.argsort(-mean[rows], kind="stable")][:count]
    return ranking(picks, mean[picks], objective={"mean_score": float(mean[picks].mean())})
