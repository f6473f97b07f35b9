"""IFD: how little the prompt helps with the completion (Li et al., arXiv 2308.12032 and 2402.00530).

The instruction-following difficulty of a row is the perplexity of its completion after the prompt, divided by that of the
completion alone. The largest values below 1 are the difficult rows worth learning; at 1 or above the prompt does not help
at all, which the authors take for a mismatch and filter out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from baselines._checks import as_float64, check_pool, ranking
from selection.checks import Problems
from selection.types import Selection


def select(
    losses: Any,
    budget: int | float,
    *,
    note: Callable[[str], None] | None = None,
    candidates: Any = None,
) -> Selection:
    """Pick the largest IFD below 1, then the others, smallest first; nested in budget.

    Args:
        losses: (n, 2) mean loss of the completion with and without the prompt, in nats per token.
        budget: count or share of n (see `baselines._checks`).
        note: called with a sentence if rows with an IFD of 1 or more had to be picked.
        candidates: optional boolean mask (n,).

    Returns:
        Selection; gains are IFD values.

    Raises:
        ValueError: naming every bad argument.

    Example:
        >>> select(np.array([[1.0, 2.0], [1.9, 2.0], [2.5, 2.0]]), 2).indices.tolist()
        [1, 0]
    """
    problems = Problems()
    matrix = as_float64(problems, "losses", losses, candidates)
    if matrix.shape[1] != 2 and not problems.messages:
        problems.add("losses", f"has {matrix.shape[1]} columns; give two, with and without the prompt")
    rows, count = check_pool(problems, len(matrix), budget, candidates)
    problems.raise_if_any()
    ratio = np.exp(matrix[rows, 0] - matrix[rows, 1])
    helped = ratio < 1
    order = np.lexsort((np.where(helped, -ratio, ratio), ~helped))[:count]
    if note is not None and not helped[order].all():
        note(
            f"only {int(helped.sum()):,} of {len(rows):,} rows have an IFD below 1, so picks after the first "
            f"{int(helped.sum()):,} are rows whose prompt does not help"
        )
    return ranking(rows[order], ratio[order], objective={"mean_ifd": float(ratio[order].mean())})
