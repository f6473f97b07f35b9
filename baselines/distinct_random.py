"""Distinct random: rows in random order, those that resemble an earlier one left out.

The question it answers: how much of a method's gain comes from leaving out near-copies alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from baselines._apart import apart
from baselines._checks import as_float64, check_pool, check_share, ranking, unit_rows
from selection.checks import Problems
from selection.types import Seed, Selection, Share


def select(
    features: Any,
    budget: int | float,
    *,
    seed: Seed,
    similarity: Share = 0.9,
    note: Callable[[str], None] | None = None,
    candidates: Any = None,
) -> Selection:
    """Pick at random among rows that are no near-copies; nested in budget.

    Args:
        features: (n, d) embeddings, array or tensor; only directions matter.
        budget: count or share of n (see `baselines._checks`).
        seed: seed of the order.
        similarity: rows with a larger cosine to an earlier pick come last, in (0, 1].
        note: called with a sentence if such rows had to be picked.
        candidates: optional boolean mask (n,).

    Returns:
        Selection; gains are zero.

    Raises:
        ValueError: naming every bad argument.

    Example:
        >>> features = np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]])
        >>> 2 in select(features, 2, seed=0).indices
        True
    """
    problems = Problems()
    matrix = as_float64(problems, "features", features, candidates)
    rows, count = check_pool(problems, len(matrix), budget, candidates, seed=seed)
    check_share(problems, "similarity", similarity)
    problems.raise_if_any()
    order = np.random.default_rng(seed).permutation(len(rows))
    picks = apart(unit_rows(matrix, rows), order, count, at_most=similarity, note=note)
    return ranking(rows[picks], np.zeros(count))
