"""Numbers for one cell and for the comparison of two, from `eval.statistics` and `eval.paired`.

One seed: Wilson's interval for outcomes 0 and 1, a bootstrap over questions for graded ones; nothing is known
about other seeds. Several seeds: a bootstrap over seeds and questions, crossed. Differences are paired by
(seed, question) over the seeds that both cells have. There are two p-values, both from paired sign-flip
permutations: over *questions* (all seeds of a question together), whether these trained models differ on other
questions; over *seeds* (whole training runs), whether the methods differ in other training runs. With s seeds
the latter cannot be below 2^(1-s).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from eval import paired, statistics
from eval.statistics import Interval, Outcomes
from gip_exp.report.run import Answer

CONFIDENCE = 0.95
RESAMPLES = 4_000  # of a bootstrap: its Monte Carlo error is far below an interval's width
Answers = Mapping[int, Mapping[str, Answer]]  # by seed, then question id


@dataclass(frozen=True)
class Summary:
    """Mean over (seed, question) with its interval.

    Attributes:
        mean: the mean and its interval.
        kind: the interval's kind: `wilson`, `questions`, `seeds+questions`, or `alike` (several seeds whose
            outcomes are all 0 or all 1: Wilson over the questions of one run).
        error: the paper's std / sqrt(n) of one run, averaged over seeds.
        seeds: seeds of the runs.
        per_seed: mean of each seed.
        questions: questions with an outcome in every seed.
        dropped: questions left out because some seed has no outcome (failures of a judge).
    """

    mean: Interval
    kind: str
    error: float
    seeds: tuple[int, ...]
    per_seed: tuple[float, ...]
    questions: int
    dropped: int


@dataclass(frozen=True)
class Difference:
    """a - b, paired by (seed, question); p-values are computed on first use.

    Attributes:
        mean: mean difference with its two-level bootstrap interval.
        over_seeds: Student's t interval of the mean over seeds, NaN with one seed; unlike a bootstrap of few
            seeds it is not too narrow.
        seeds: seeds that both cells have.
        per_seed: mean difference of each seed.
        outcomes: the outcomes of both cells.
    """

    mean: Interval
    over_seeds: tuple[float, float]
    seeds: tuple[int, ...]
    per_seed: tuple[float, ...]
    outcomes: tuple[Outcomes, Outcomes] = field(repr=False)

    @property
    def cautious(self) -> tuple[float, float]:
        """The wider bounds of the two intervals, on which verdicts are based. NaN with one seed."""
        low, high = self.over_seeds
        if math.isnan(low):
            return math.nan, math.nan
        return min(low, self.mean.low), max(high, self.mean.high)

    @cached_property
    def p_questions(self) -> float:
        """P-value of the paired permutation over questions, the seeds of a question together."""
        return paired.paired_permutation(*self.outcomes, unit="question")

    @cached_property
    def p_seeds(self) -> float:
        """P-value of the paired permutation over whole training runs; NaN with one seed."""
        if len(self.seeds) < 2:
            return math.nan
        return paired.paired_permutation(*self.outcomes, unit="seed")


def summarise(answers: Answers) -> Summary | None:
    """Return the summary of a cell's answers, or None if no question has an outcome in every seed."""
    shared = _shared(answers)
    if not shared:
        return None
    outcomes = {(seed, id): answers[seed][id].value for seed in answers for id in shared}
    table = _table(outcomes)
    kind, mean = _interval(outcomes, table)
    errors = [statistics.standard_error(row) for row in table]
    most = max(len(of_seed) for of_seed in answers.values())
    return Summary(
        mean,
        kind,
        float(np.mean(errors)),
        tuple(sorted(answers)),
        tuple(float(row.mean()) for row in table),
        len(shared),
        most - len(shared),
    )


def difference(a: Answers, b: Answers) -> Difference | None:
    """Compare a with b on the seeds and questions that both have; None if they share none."""
    seeds = sorted(set(a) & set(b))
    shared = _shared({**{(0, s): a[s] for s in seeds}, **{(1, s): b[s] for s in seeds}}) if seeds else []
    if not shared:
        return None
    ours, theirs = ({(s, id): side[s][id].value for s in seeds for id in shared} for side in (a, b))
    gaps = paired.differences(ours, theirs)
    rows = _table(gaps)
    per_seed = tuple(float(row.mean()) for row in rows)
    mean = statistics.bootstrap(gaps, confidence=CONFIDENCE, resamples=RESAMPLES)
    if not rows.any():
        mean = _alike(mean, len(shared))
    return Difference(mean, student(per_seed), tuple(seeds), per_seed, (ours, theirs))


def is_proportion(answers: Answers) -> bool:
    """Return whether all outcomes are 0 or 1 (shown in percent, with Wilson intervals)."""
    return all(answer.value in (0, 1) for of_seed in answers.values() for answer in of_seed.values())


def _interval(outcomes: Outcomes, table: np.ndarray) -> tuple[str, Interval]:
    if np.isin(table, (0, 1)).all() and np.ptp(table) == 0:
        # Nothing varies, so a bootstrap would claim certainty; Wilson's interval of one run's questions does not.
        alike = statistics.wilson(int(table[0].sum()), table.shape[1], CONFIDENCE)
        return "alike" if len(table) > 1 else "wilson", alike
    if len(table) > 1:
        return "seeds+questions", statistics.bootstrap(outcomes, confidence=CONFIDENCE, resamples=RESAMPLES)
    if np.isin(table, (0, 1)).all():
        return "wilson", statistics.wilson(int(table.sum()), table.size, CONFIDENCE)
    return "questions", statistics.mean_interval(table[0], confidence=CONFIDENCE, resamples=RESAMPLES)


def _alike(mean: Interval, questions: int) -> Interval:
    """Return an interval for runs in which no question differs, where a bootstrap would claim certainty.

    The share of questions that may differ (Wilson's upper bound for 0 of n) bounds the difference.
    """
    bound = statistics.wilson(0, questions, CONFIDENCE).high
    return replace(mean, low=-bound, high=bound)


def _shared(answers: Mapping[Any, Mapping[str, Answer]]) -> list[str]:
    """Return the question ids for which every run has an outcome."""
    return sorted(set.intersection(*(set(of_seed) for of_seed in answers.values()))) if answers else []


def _table(outcomes: Outcomes) -> np.ndarray:
    """Return outcomes as an array (s, n), seeds and questions sorted."""
    seeds = sorted({seed for seed, _ in outcomes})
    ids = sorted({id for _, id in outcomes})
    return np.array([[outcomes[seed, id] for id in ids] for seed in seeds])


def student(values: Sequence[float]) -> tuple[float, float]:
    """Return Student's t interval of the mean of `values`, one per seed; NaN for a single value."""
    if len(values) < 2:
        return math.nan, math.nan
    half = _quantile(len(values) - 1) * statistics.standard_error(values)
    mean = float(np.mean(values))
    return mean - half, mean + half


@lru_cache
def _quantile(freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.5 + CONFIDENCE / 2, freedom))
