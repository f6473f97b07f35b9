"""Perplexity of the completion after its prompt: the lowest, middle or highest (Marion et al., arXiv 2309.04564)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from baselines._checks import as_float64, check_pool, ranking
from selection.checks import Problems
from selection.types import Selection

PARTS = ("low", "middle", "high")


def select(
    losses: Any,
    budget: int | float,
    *,
    part: Literal["low", "middle", "high"] = "middle",
    candidates: Any = None,
) -> Selection:
    """Pick rows by perplexity; nested in budget, ties to the lowest index.

    Args:
        losses: (n, 1 or more) mean loss in nats per token; the first column counts.
        budget: count or share of n (see `baselines._checks`).
        part: lowest first, highest first, or nearest to the median rank first.
        candidates: optional boolean mask (n,).

    Returns:
        Selection; gains are perplexities.

    Raises:
        ValueError: naming every bad argument.

    Example:
        >>> losses = np.array([[3.0], [1.0], [2.0], [0.5], [9.0]])
        >>> select(losses, 2, part="low").indices.tolist(), select(losses, 1).indices.tolist()
        ([3, 1], [2])
    """
    problems = Problems()
    matrix = as_float64(problems, "losses", losses, candidates)
    if part not in PARTS:
        problems.add("part", f"got {part!r}; choose from {', '.join(PARTS)}")
    rows, count = check_pool(problems, len(matrix), budget, candidates)
    problems.raise_if_any()
    loss = matrix[rows, 0]
    place = np.empty(len(rows))
    place[np.argsort(loss, kind="stable")] = np.arange(len(rows))
    key = {"low": loss, "high": -loss, "middle": np.abs(place - (len(rows) - 1) / 2)}[part]
    order = np.argsort(key, kind="stable")[:count]
    perplexity = np.exp(loss[order])
    return ranking(rows[order], perplexity, objective={"mean_log_perplexity": float(loss[order].mean())})
