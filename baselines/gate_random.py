"""Quality gate, then random: drop the worst rows by mean score and pick at random among the rest.

The cheapest method with both quality and diversity, and therefore a necessary comparison for any other.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from baselines._checks import check_pool, check_share, ranking
from baselines.top_score import checked_scores, mean_scores
from selection.checks import Problems
from selection.types import Seed, Selection, Share


def select(
    scores: Any, budget: int | float, *, seed: Seed, gate: Share = 0.5, candidates: Any = None
) -> Selection:
    """Pick at random among the top `gate` share of the candidates by mean score, then the rest by score.

    Args:
        scores: (n, k) or (n,), as for `top_score.select`; the same mean score.
        budget: count or share of n (see `baselines._checks`). After the rows within the gate, the others
            follow in order of score, so that any budget works and picks are nested.
        seed: seed of the order within the gate.
        gate: share of the candidates that pass the gate, in (0, 1]; rounded up. Ties go to the lowest index.
        candidates: optional boolean mask (n,).

    Returns:
        Selection; gains are the mean scaled scores of the picks, `objective["mean_score"]` their average.

    Raises:
        ValueError: naming every bad argument.

    Example:
        >>> import numpy as np
        >>> scores = np.array([5.0, 1.0, 4.0, 2.0])
        >>> sorted(select(scores, 2, seed=0).indices.tolist())
        [0, 2]
    """
    problems = Problems()
    matrix = checked_scores(problems, scores, candidates)
    rows, count = check_pool(problems, len(matrix), budget, candidates, seed=seed)
    check_share(problems, "gate", gate)
    problems.raise_if_any()
    mean = mean_scores(matrix, rows)
    by_score = rows[np.argsort(-mean[rows], kind="stable")]
    passed = math.ceil(gate * len(rows) - 1e-9)
    shuffled = np.random.default_rng(seed).permutation(by_score[:passed])
    picks = np.concatenate([shuffled, by_score[passed:]])[:count]
    return ranking(picks, mean[picks], objective={"mean_score": float(mean[picks].mean())})
