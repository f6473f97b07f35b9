"""QDIT: quality and facility location (Bukharin et al., arXiv 2311.14736).

Each pick maximises (1 - alpha) times its gain in facility location plus alpha times its quality, both of which are
divided by their largest value over the pool at the start, so that alpha weighs like with like (the scale is our choice).
Symbols as in `facility_location`: f(S) = sum_i max over j in S of u_ij; the sum is monotone submodular, so lazy
evaluation holds.
"""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Le

from baselines._checks import as_float64, check_pool, ranking, unit_rows
from baselines.facility_location import Cover
from baselines.top_score import checked_scores, mean_scores
from selection.checks import Problems
from selection.types import Selection


def select(
    features: Any,
    scores: Any,
    budget: int | float,
    *,
    alpha: Annotated[float, Ge(0), Le(1)] = 0.5,
    candidates: Any = None,
) -> Selection:
    """Pick rows of quality that together resemble every row; nested in budget, ties to the lowest index.

    Args:
        features: (n, d) embeddings, array or tensor; only directions matter.
        scores: (n, k) scores, larger is better; quality is the mean score, as for `top_score`, shifted to begin at 0.
        budget: count or share of n (see `baselines._checks`).
        alpha: weight of quality, in [0, 1]; 0 is facility location, 1 is top score.
        candidates: optional boolean mask (n,).

    Returns:
        Selection; gains are those of the weighted sum, `objective["coverage"]` is f / n over the candidates.

    Raises:
        ValueError: naming every bad argument.

    Example:
        >>> import numpy as np
        >>> features = np.array([[1.0, 0.0], [0.9, 0.1], [0.8, 0.2], [0.0, 1.0]])
        >>> select(features, np.array([1.0, 5.0, 1.0, 1.0]), 2).indices.tolist()
        [1, 3]
    """
    problems = Problems()
    matrix = as_float64(problems, "features", features, candidates)
    table = checked_scores(problems, scores, candidates)
    if len(table) != len(matrix):
        problems.add("scores", f"has {len(table)} rows for {len(matrix)} of features; give one per row")
    rows, count = check_pool(problems, len(matrix), budget, candidates)
    problems.number("alpha", alpha)
    if not problems.messages and alpha > 1:
        problems.add("alpha", f"got {alpha!r}; give a number from 0 to 1")
    problems.raise_if_any()
    quality = mean_scores(table, rows)[rows]
    quality = quality - quality.min()
    quality /= quality.max() or 1.0
    cover = Cover(unit_rows(matrix, rows))
    largest = cover.largest_gain() or 1.0
    picks, gains = cover.greedy(count, share=(1 - alpha) / largest, bonus=alpha * quality)
    return ranking(rows[picks], gains, objective={"coverage": cover.coverage()})
