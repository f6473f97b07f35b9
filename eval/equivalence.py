"""Equivalence of two runs: two one-sided tests (Schuirmann 1987), and how many questions changed sides.

That no difference was found does not show that there is none. Two one-sided tests do: they reject, each at level alpha,
that the first run is worse by `margin` or more, and that it is better by as much. Both reject exactly if the interval of
confidence 1 - 2 alpha lies within the margin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Flips:
    """Questions by outcome, for outcomes 0 and 1.

    Attributes:
        both: right in both runs.
        only_a: right in the first run alone.
        only_b: right in the second run alone.
        neither: wrong in both.
    """

    both: int
    only_a: int
    only_b: int
    neither: int


@dataclass(frozen=True)
class Equivalence:
    """Result of the two one-sided tests of a - b.

    Attributes:
        difference: mean of a - b over questions.
        low, high: interval of confidence 1 - 2 alpha.
        p: the larger of the two p-values: below alpha, the runs are equivalent within the margin.
        margin: in the unit of the outcomes.
        equivalent: whether p < alpha.
        flips: None unless all outcomes are 0 or 1.
    """

    difference: float
    low: float
    high: float
    p: float
    margin: float
    equivalent: bool
    flips: Flips | None


def two_one_sided(
    a: Mapping[str, float], b: Mapping[str, float], margin: float, *, alpha: float = 0.05
) -> Equivalence:
    """Test whether two runs differ by less than a margin, paired by question, by Student's t.

    Args:
        a: outcome of each question in the first run.
        b: outcomes of the same questions in the second run.
        margin: smallest difference that matters, > 0, in the unit of the outcomes (0.02 is 2 points of accuracy).
        alpha: level of each test.

    Raises:
        ValueError: other questions, fewer than two, values that are not finite, or a margin or level out of range.

    Example:
        >>> a = {f"q{i}": float(i % 2) for i in range(400)}
        >>> b = a | {"q0": 1.0, "q1": 0.0}
        >>> found = two_one_sided(a, b, 0.02)
        >>> found.equivalent, found.flips
        (True, Flips(both=199, only_a=1, only_b=1, neither=199))
    """
    from scipy.stats import t

    _check(a, b, margin, alpha)
    pairs = np.array([(a[name], b[name]) for name in a], dtype=np.float64)
    gaps = pairs[:, 0] - pairs[:, 1]
    n, mean = len(gaps), float(gaps.mean())
    error = float(gaps.std(ddof=1)) / math.sqrt(n)
    if error == 0:  # every question differs alike
        p = 0.0 if abs(mean) < margin else 1.0
        return Equivalence(mean, mean, mean, p, margin, p < alpha, _flips(pairs))
    p = float(max(t.sf((mean + margin) / error, n - 1), t.sf((margin - mean) / error, n - 1)))
    width = float(t.ppf(1 - alpha, n - 1)) * error
    return Equivalence(mean, mean - width, mean + width, p, margin, p < alpha, _flips(pairs))


def _check(a: Mapping[str, float], b: Mapping[str, float], margin: float, alpha: float) -> None:
    if a.keys() != b.keys():
        raise ValueError(f"the runs have {len(a.keys() ^ b.keys())} questions that the other has not")
    if len(a) < 2:
        raise ValueError(f"{len(a)} questions: at least two are needed")
    if not all(math.isfinite(value) for run in (a, b) for value in run.values()):
        raise ValueError("outcomes hold NaN or inf: leave unscored questions out of both runs")
    if not (margin > 0 and math.isfinite(margin)):
        raise ValueError(f"margin={margin!r}: give a number above 0")
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha={alpha!r}: give a level above 0 and below 0.5")


def _flips(pairs: np.ndarray) -> Flips | None:
    if not np.isin(pairs, (0.0, 1.0)).all():
        return None
    ours, theirs = pairs.astype(bool).T
    counts = [int(part.sum()) for part in (ours & theirs, ours & ~theirs, ~ours & theirs, ~ours & ~theirs)]
    return Flips(*counts)
