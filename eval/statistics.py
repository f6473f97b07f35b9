"""Intervals, paired tests and the correction for multiple comparisons, as used by every table of results.

Symbols: n questions, s seeds. An *outcome* is the number that a question got in one run (1 or 0 for exact
match, a rating, a log-likelihood). `Outcomes` maps (seed, question id) to it, so that two runs are compared
question by question: with the published standard error of GSM8K (0.0086 at 1,319 questions), unpaired runs
differ significantly only from 2.4 points on.

Everything random takes a seed and uses its own generator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

Outcomes = Mapping[tuple[int, str], float]

# Numbers drawn at a time: an array of a bootstrap takes at most about 16 MB per seed for any number of questions.
DRAWS_AT_ONCE = 2_000_000
# Up to this many units all sign patterns are enumerated and the permutation test is exact.
EXACT_UNITS = 14


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


@dataclass(frozen=True)
class PairedTest:
    """Run a against run b on the same (seed, question) pairs.

    Attributes:
        test: name of the test.
        difference: mean(a) - mean(b).
        n: number of pairs.
        wins: pairs in which a is above b.
        losses: pairs in which a is below b.
        p_value: two-sided.
        exact: whether the p-value was computed exactly or estimated from random permutations.
    """

    test: str
    difference: float
    n: int
    wins: int
    losses: int
    p_value: float
    exact: bool


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Compute the Wilson score interval of a proportion (the paper's interval for GSM8K and BBH).

    p = successes / n; centre (p + z^2/2n) / (1 + z^2/n), half-width z sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n).

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
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = successes / n
    shrink = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / shrink
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / shrink
    # At 0 and n successes the bound is 0 or 1; rounding may miss it by an ulp.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(value=p, n=n, low=low, high=high)


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


def differences(a: Outcomes, b: Outcomes) -> dict[tuple[int, str], float]:
    """Compute the difference of two runs for each (seed, question).

    Args:
        a: outcomes of the first run.
        b: outcomes of the second run, with the same pairs.

    Returns:
        a - b by (seed, question).

    Raises:
        ValueError: the pairs differ, there are none, or outcomes are not finite.

    Example:
        >>> differences({(0, "q1"): 1.0, (0, "q2"): 0.0}, {(0, "q1"): 0.0, (0, "q2"): 0.0})
        {(0, 'q1'): 1.0, (0, 'q2'): 0.0}
    """
    if not a or not b:
        raise ValueError("no outcomes to compare: both runs need at least one (seed, question)")
    for name, run in (("a", a), ("b", b)):
        bad = [pair for pair, value in run.items() if not math.isfinite(value)]
        if bad:
            raise ValueError(
                f"run {name} has {len(bad)} outcomes that are not finite{_first(bad)}; "
                "leave unscored questions out of both runs and count them"
            )
    if a.keys() != b.keys():
        only_a, only_b = a.keys() - b.keys(), b.keys() - a.keys()
        raise ValueError(
            "the two runs do not cover the same (seed, question) pairs: "
            f"{len(only_a)} only in a{_first(only_a)}, {len(only_b)} only in b{_first(only_b)}; "
            "compare runs on the same questions and keep only the seeds that both have"
        )
    return {pair: float(a[pair]) - float(b[pair]) for pair in a}


def mcnemar(a: Outcomes, b: Outcomes) -> PairedTest:
    """Run the exact McNemar test on two runs with outcomes 0 and 1.

    Under the null hypothesis a discordant pair is a win or a loss with equal probability, so the p-value is
    min(1, 2 P(X <= min(wins, losses))), X ~ Binomial(wins + losses, 1/2). Pairs count as independent; with
    several seeds per question prefer `paired_permutation`, which keeps the seeds of a question together.

    Args:
        a: outcomes of the first run.
        b: outcomes of the second run, with the same pairs.

    Returns:
        PairedTest.

    Raises:
        ValueError: outcomes other than 0 and 1, or pairs that differ.

    Example:
        >>> run = {(0, f"q{i}"): float(i < 5) for i in range(10)}
        >>> mcnemar(run, dict.fromkeys(run, 0.0)).p_value
        0.0625
    """
    gaps = differences(a, b)
    for name, run in (("a", a), ("b", b)):
        odd = next((pair for pair, value in run.items() if value not in (0, 1)), None)
        if odd is not None:
            raise ValueError(
                f"mcnemar needs outcomes 0 or 1; run {name} has {run[odd]!r} at {odd}; "
                "use paired_permutation for graded outcomes"
            )
    wins = sum(gap > 0 for gap in gaps.values())
    losses = sum(gap < 0 for gap in gaps.values())
    p_value = min(1.0, 2 * float(binom.cdf(min(wins, losses), wins + losses, 0.5)))
    return PairedTest("mcnemar", (wins - losses) / len(gaps), len(gaps), wins, losses, p_value, exact=True)


def paired_permutation(
    a: Outcomes, b: Outcomes, *, unit: str = "question", resamples: int = 10_000, seed: int = 0
) -> PairedTest:
    """Run a sign-flip permutation test of mean(a) = mean(b).

    Up to 14 units with a non-zero difference all sign patterns are enumerated; beyond that
    p = (1 + hits) / (1 + resamples).

    Args:
        a: outcomes of the first run.
        b: outcomes of the second run, with the same pairs.
        unit: what is exchanged between the runs as a whole: "question" (all seeds of a question flip together,
            so that seeds do not count as further questions), "seed" (whole training runs; with s seeds no
            p-value is below 2^(1-s)) or "pair".
        resamples: random sign patterns, if they are not enumerated.
        seed: seed of the random sign patterns.

    Returns:
        PairedTest.

    Raises:
        ValueError: bad arguments, pairs that differ, or outcomes that are not finite.

    Example:
        >>> run = {(0, f"q{i}"): float(i < 5) for i in range(10)}
        >>> paired_permutation(run, dict.fromkeys(run, 0.0)).p_value
        0.0625
    """
    problems = []
    if unit not in ("question", "seed", "pair"):
        problems.append(f"unit is {unit!r}; allowed are 'question', 'seed' and 'pair'")
    if resamples < 1:
        problems.append(f"resamples is {resamples}; give at least 1")
    _raise(problems)
    gaps = differences(a, b)
    sums = _unit_sums(gaps, unit)
    exact = sums.size <= EXACT_UNITS
    p_value = _exact_sign_flip(sums) if exact else _random_sign_flip(sums, resamples, seed)
    values = np.fromiter(gaps.values(), dtype=np.float64)
    wins, losses = int((values > 0).sum()), int((values < 0).sum())
    return PairedTest("permutation", float(values.mean()), values.size, wins, losses, p_value, exact)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for the number of comparisons by Holm's step-down procedure.

    The i-th smallest of m (i = 0..m-1) becomes the largest of (m - j) p_(j) for j <= i, at most 1.

    Args:
        p_values: (m,) p-values of one table.

    Returns:
        Adjusted p-values in the same order.

    Raises:
        ValueError: a value outside 0..1.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    bad = [f"p_values[{i}] is {value}" for i, value in enumerate(p) if not 0 <= value <= 1]
    if bad:
        raise ValueError("; ".join(bad) + "; p-values lie in 0..1 (leave comparisons without one out)")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


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
            f"(seed, question) pairs are missing{_first(missing)}; compare seeds on the same questions"
        )
    flat = _values([outcomes[s, q] for s in seeds for q in questions])
    return flat.reshape(len(seeds), len(questions))


def _unit_sums(gaps: Mapping[tuple[int, str], float], unit: str) -> NDArray[np.float64]:
    """Return the sum of the differences in each unit, without units that sum to zero (flipping has no effect)."""
    sums: dict[object, float] = {}
    for (seed, question), gap in sorted(gaps.items()):
        key: object = {"question": question, "seed": seed, "pair": (seed, question)}[unit]
        sums[key] = sums.get(key, 0.0) + gap
    return np.array([value for value in sums.values() if value != 0.0], dtype=np.float64)


def _exact_sign_flip(sums: NDArray[np.float64]) -> float:
    """Return the share of all 2^m sign patterns whose absolute sum reaches the observed one; 1 if nothing differs."""
    if sums.size == 0:
        return 1.0
    patterns = (np.arange(2**sums.size)[:, None] >> np.arange(sums.size)) & 1
    return float((np.abs((2 * patterns - 1) @ sums) >= _threshold(sums)).mean())


def _random_sign_flip(sums: NDArray[np.float64], resamples: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    hits = 0
    step = max(1, DRAWS_AT_ONCE // sums.size)
    for start in range(0, resamples, step):
        signs = 2 * rng.integers(2, size=(min(step, resamples - start), sums.size)) - 1
        hits += int((np.abs(signs @ sums) >= _threshold(sums)).sum())
    return (1 + hits) / (1 + resamples)


def _threshold(sums: NDArray[np.float64]) -> float:
    """Return the observed statistic less rounding, so that a tie counts as a hit for any order of summation."""
    return abs(float(sums.sum())) - 1e-12 * float(np.abs(sums).sum())


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


def _first(pairs: object) -> str:
    ordered = sorted(pairs)  # type: ignore[call-overload]
    return f" (the first: {ordered[0]})" if ordered else ""


def _raise(problems: Sequence[str]) -> None:
    if problems:
        raise ValueError("; ".join(problems))
