"""DEITA: complexity times quality, then a threshold on similarity (Liu et al., arXiv 2312.15685).

The authors train two scorers; here complexity and quality are attributes of the judge. Rows are taken by their product,
largest first, except those whose nearest pick is closer than a threshold (cosine .9, as the authors use).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from baselines._apart import apart
from baselines._checks import as_float64, check_pool, check_share, ranking, unit_rows
from baselines.top_score import checked_scores
from selection.checks import Problems
from selection.types import Selection, Share


def select(
    features: Any,
    scores: Any,
    budget: int | float,
    *,
    score_names: Sequence[str],
    complexity: str = "difficulty",
    similarity: Share = 0.9,
    note: Callable[[str], None] | None = None,
    candidates: Any = None,
) -> Selection:
    """Pick by complexity times quality among rows that do not resemble an earlier pick; nested in budget.

    Args:
        features: (n, d) embeddings, array or tensor; only directions matter.
        scores: (n, k) scores >= 0, larger is better.
        budget: count or share of n (see `baselines._checks`).
        score_names: names of the k columns.
        complexity: the column that is the complexity; quality is the mean of the others.
        similarity: rows with a larger cosine to an earlier pick come last, in (0, 1].
        note: called with a sentence if such rows had to be picked.
        candidates: optional boolean mask (n,).

    Returns:
        Selection; gains are complexity times quality.

    Raises:
        ValueError: naming every bad argument.

    Example:
        >>> features = np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]])
        >>> scores = np.array([[5.0, 5.0], [5.0, 4.0], [1.0, 2.0]])
        >>> select(features, scores, 2, score_names=["difficulty", "accuracy"]).indices.tolist()
        [0, 2]
    """
    problems = Problems()
    matrix = as_float64(problems, "features", features, candidates)
    table = checked_scores(problems, scores, candidates)
    names = list(score_names)
    if complexity not in names or len(names) < 2:
        problems.add(
            "complexity",
            f"got {complexity!r}; give one of the scores {names}, beside at least one other for quality",
        )
    elif len(names) != table.shape[1] or len(table) != len(matrix):
        problems.add(
            "scores",
            f"has shape {table.shape} for {len(names)} score_names and {len(matrix)} rows of features",
        )
    rows, count = check_pool(problems, len(matrix), budget, candidates)
    check_share(problems, "similarity", similarity)
    problems.raise_if_any()
    at = names.index(complexity)
    product = table[:, at] * np.delete(table, at, axis=1).mean(axis=1)
    if (product[rows] < 0).any():
        raise ValueError(
            "scores: a product of complexity and quality is below 0; shift the scores to 0 or above"
        )
    order = np.argsort(-product[rows], kind="stable")
    picks = rows[apart(unit_rows(matrix, rows), order, count, at_most=similarity, note=note)]
    return ranking(picks, product[picks], objective={"mean_score": float(product[picks].mean())})
