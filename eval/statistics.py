"""Means and their confidence intervals, as used by every table of results. `eval.paired` compares two runs.

Symbols: n questions, s seeds. An *outcome* is the number that a question got in one run (1 or 0 for exact match, a
rating, a log-likelihood). Everything random takes a seed and uses its own generator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

Outcomes = Mapping[tuple[int, str], float]  # by (seed, question id)

# Numbers drawn at a time: an array of a bootstrap takes at most about 16 MB per seed for any number of questions.
DRAWS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    With a single value there is no spread to estimate, and `low` and `high` are NaN.

    Attributes:
        value: the mean.
        n: number of values behind the mean.
        low: lower bound.
        high: upper bound.
        seeds: number of runs the values came from.
    """

    value: float
    n: int
    low: float
    high: float
    seeds: int = 1

    def as_dict(self) -> dict[str, float | int | None]:
        """Return `{"value", "n", "low", "high"}` as in `result.json`; an unknown bound is None."""
        low, high = (None if math.isnan(bound) else bound for bound in (self.low, self.high))
        return {"value": self.value, "n": self.n, "low": low, "high": high}


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Compute the Wilson score interval of a proportion (the paper's interval for GSM8K and BBH).

    Args:
        successes: questions answered correctly.
        n: questions.
        confidence: coverage of the interval, in (0, 1).

    Returns:
        Interval.

    Raises:
        ValueError: naming every bad argument.

    Example:
        >>> interval = wilson(88, 100)
        >>> round(interval.low, 3), round(interval.high, 3)
        (0.802, 0.93)
    """
    problems = _confidence_problems(confidence)
    if n < 1:
        problems.append(f"n is {n}; give the number of questions, at least 1")
    elif not 0 <= successes <= n:
        problems.append(f"successes is {successes}; it must lie in 0..{n}")
    _raise(problems)
    low, high = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return Interval(value=successes / n, n=n, low=float(low), high=float(high))


def standard_error(values: ArrayLike) -> float:
    """Compute the standard error as the paper defines it: std / sqrt(n), with n - 1 in std.

    Args:
        values: (n,) finite numbers.

    Returns:
        The standard error; NaN for a single value.

    Raises:
        ValueError: no values, or values that are not finite.

    Example:
        >>> standard_error([0, 1, 1, 0])
        0.28867513459481287
    """
    data = _values(values)
    return float(data.std(ddof=1) / math.sqrt(data.size)) if data.size > 1 else math.nan


def mean_interval(
    values: ArrayLike, *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Compute a mean with its percentile bootstrap interval over questions.

    Args:
        values: (n,) finite numbers, one per question.
        confidence: coverage of the interval, in (0, 1).
        resamples: bootstrap resamples.
        seed: seed of the resampling.

    Returns:
        Interval.

    Raises:
        ValueError: no values, values that are not finite, or bad arguments.

    Example:
        >>> mean_interval([6.0, 7.0, 8.0]).value
        7.0
    """
    data = _values(values)
    return _bootstrap(data[None, :], confidence, resamples, seed)


def bootstrap(
    outcomes: Outcomes, *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Compute a mean over (seed, question) pairs, resampling seeds and questions (two levels, crossed).

    Each resample draws s seeds and, independently, n questions with replacement and averages the s x n table
    that they select. The interval covers both another training run and another test set. With one seed only the
    questions vary; with few seeds the interval is too narrow (a bootstrap of s seeds shows (s - 1) / s of their
    variance).

    Args:
        outcomes: numbers by (seed, question id); every seed must have answered the same questions. For a
            paired difference pass `differences(a, b)`.
        confidence: coverage of the interval, in (0, 1).
        resamples: bootstrap resamples.
        seed: seed of the resampling.

    Returns:
        Interval.

    Raises:
        ValueError: no outcomes, missing pairs, values that are not finite, or bad arguments.

    Example:
        >>> interval = bootstrap({(seed, q): float(q == "a") for seed in (0, 1) for q in "ab"})
        >>> interval.value, interval.seeds
        (0.5, 2)
    """
    return _bootstrap(_table(outcomes), confidence, resamples, seed)


def _bootstrap(table: NDArray[np.float64], confidence: float, resamples: int, seed: int) -> Interval:
    """Return the percentile interval of the mean of `table` (s, n), drawing rows and columns with replacement."""
    problems = _confidence_problems(confidence)
    if resamples < 1:
        problems.append(f"resamples is {resamples}; give at least 1")
    _raise(problems)
    seeds, questions = table.shape
    mean = float(table.mean())
    if table.size == 1:
        return Interval(mean, 1, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, DRAWS_AT_ONCE // questions)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        columns = rng.integers(questions, size=(size, questions))
        if seeds == 1:
            means[start : start + size] = table[0][columns].mean(axis=1)
        else:
            rows = table[rng.integers(seeds, size=(size, seeds))].mean(axis=1)
            means[start : start + size] = np.take_along_axis(rows, columns, axis=1).mean(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(mean, table.size, float(low), float(high), seeds)


def _table(outcomes: Outcomes) -> NDArray[np.float64]:
    """Return outcomes as an array (s, n), seeds and questions sorted, so that insertion order has no effect."""
    if not outcomes:
        raise ValueError("outcomes is empty; give at least one (seed, question)")
    seeds = sorted({seed for seed, _ in outcomes})
    questions = sorted({question for _, question in outcomes})
    missing = [(s, q) for s in seeds for q in questions if (s, q) not in outcomes]
    if missing:
        raise ValueError(
            f"seeds answered different questions: {len(missing)} of {len(seeds) * len(questions)} "
            f"(seed, question) pairs are missing (the first: {missing[0]}); compare seeds on the same questions"
        )
    flat = _values([outcomes[s, q] for s in seeds for q in questions])
    return flat.reshape(len(seeds), len(questions))


def _values(values: ArrayLike) -> NDArray[np.float64]:
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or data.size == 0:
        raise ValueError(f"values has shape {data.shape}; give a list of at least one number")
    bad = np.flatnonzero(~np.isfinite(data))
    if bad.size:
        raise ValueError(
            f"values[{bad[0]}] is {data[bad[0]]} ({bad.size} of {data.size} are not finite); "
            "leave unscored questions out and count them"
        )
    return data


def _confidence_problems(confidence: float) -> list[str]:
    if 0 < confidence < 1:
        return []
    return [f"confidence is {confidence}; it must lie strictly between 0 and 1 (0.95 is usual)"]


def _raise(problems: list[str]) -> None:
    if problems:
        raise ValueError("; ".join(problems))
