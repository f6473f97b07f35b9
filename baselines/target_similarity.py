"""Similarity to target rows: the rows whose embeddings point the way of a target's, by the rule of `_target_rules`.

With the hidden states of the model to be tuned, weighted by position, and `round_robin` over target rows this is RDS+
(Ivison et al., arXiv 2503.01807); with `gip` it is Greedy Information Projection with target embeddings as queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from baselines._checks import as_float64, check_pool, ranking, unit_rows
from baselines._target_rules import Aggregate, check_options, select_towards, subtask_numbers
from selection.checks import Problems
from selection.types import Count, Seed, Selection


def select(
    features: Any,
    target_features: Any,
    budget: int | float,
    *,
    subtasks: str = "rows",
    aggregate: Aggregate = "round_robin",
    clusters: Count = 8,
    subtask_seed: Seed = 0,
    target_labels: Sequence[Any] | None = None,
    candidates: Any = None,
) -> Selection:
    """Pick rows by cosine similarity to the subtasks of a target; nested in budget, ties to the lowest index.

    Args:
        features: (n, d) embeddings of the pool, array or tensor; only directions matter. Rows outside `candidates` are
            not read.
        target_features: (t, d) embeddings of the target rows; never the test set.
        budget: count or share of n (see `baselines._checks`).
        subtasks: `one`, `rows` (each target row), `clusters` (of the target embeddings) or the name of a column, whose
            values are `target_labels`.
        aggregate: `mean`, `max`, `round_robin` or `gip` over subtasks (see `_target_rules`).
        clusters: number of clusters.
        subtask_seed: seed of the clustering.
        target_labels: one value per target row.
        candidates: optional boolean mask (n,).

    Returns:
        Selection; gains are cosine similarities, for `gip` those of matching pursuit.

    Raises:
        ValueError: naming every bad argument.

    Example:
        >>> pool = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> select(pool, np.eye(2), 2).indices.tolist()
        [0, 2]
    """
    problems = Problems()
    matrix = as_float64(problems, "features", features, candidates)
    target = as_float64(problems, "target_features", target_features)
    if target.shape[1] != matrix.shape[1] and not problems.messages:
        problems.add(
            "target_features",
            f"has {target.shape[1]} columns for {matrix.shape[1]} of features; give as many",
        )
    check_options(
        problems,
        subtasks=subtasks,
        aggregate=aggregate,
        clusters=clusters,
        seed=subtask_seed,
        labels=target_labels,
        t=len(target),
    )
    rows, count = check_pool(problems, len(matrix), budget, candidates)
    problems.raise_if_any()
    one = np.ones(1)
    pool, target = unit_rows(matrix, rows), unit_rows(target, np.arange(len(target)))
    numbers = subtask_numbers(
        [target], one, subtasks, clusters=clusters, seed=subtask_seed, labels=target_labels
    )
    found = select_towards([pool], [target], one, count, numbers=numbers, aggregate=aggregate)
    return ranking(rows[found.indices], found.gains, rounds=found.rounds, objective=found.objective)
