"""The whole pool, in its own order: what a selected subset is measured against."""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines._checks import check_pool, ranking
from selection.checks import Problems
from selection.types import Selection


def select(n: int, *, candidates: Any = None) -> Selection:
    """Pick every row (every row that the boolean mask `candidates` (n,) allows), lowest index first.

    There is no budget: it would change nothing. Gains are zero.

    Raises:
        ValueError: naming every bad argument.
    """
    problems = Problems()
    rows, _ = check_pool(problems, n, 1, candidates)
    problems.raise_if_any()
    return ranking(rows, np.zeros(len(rows)))
