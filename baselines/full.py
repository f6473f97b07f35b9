"""The whole pool, in its own order: what a selected subset is measured against."""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines._checks import check_pool, ranking
from selection.checks import Problems
from selection.types import Selection


def select(n: int, budget: int | float = 1.0, *, candidates: Any = None) -> Selection:  # noqa: ARG001
    """Pick every row (every row that the boolean mask `candidates` (n,) allows), lowest index first.

    `budget` changes nothing: it is there because every method has one. Gains are zero.

    Raises:
        ValueError: naming every bad argument.
    """
    problems = Problems()
    rows, _ = check_pool(problems, n, 1, candidates)
    problems.raise_if_any()
    return ranking(rows, np.zeros(len(rows)))
