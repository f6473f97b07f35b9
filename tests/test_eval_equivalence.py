"""Two one-sided tests against scipy's own, and flips."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from eval.equivalence import Flips, two_one_sided


def runs(shift, n=300, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=n)
    return {f"q{i}": v for i, v in enumerate(a + shift + 0.1 * rng.normal(size=n))}, {
        f"q{i}": v for i, v in enumerate(a)
    }


@pytest.mark.parametrize("shift", [0.0, 0.015, -0.03])
def test_p_is_the_larger_of_two_one_sided_t_tests(shift):
    a, b = runs(shift)
    gaps = np.array([a[q] - b[q] for q in a])
    found = two_one_sided(a, b, 0.02)
    above = ttest_1samp(gaps, -0.02, alternative="greater").pvalue
    below = ttest_1samp(gaps, 0.02, alternative="less").pvalue
    assert found.p == pytest.approx(max(above, below))
    interval = ttest_1samp(gaps, 0).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx(tuple(interval))
    assert found.equivalent == (found.low > -0.02 and found.high < 0.02)
    assert found.flips is None


def test_flips_count_the_questions_that_change_sides():
    a = {"q1": 1.0, "q2": 1.0, "q3": 0.0, "q4": 0.0, "q5": 0.0}
    b = {"q5": 0.0, "q4": 1.0, "q3": 1.0, "q2": 1.0, "q1": 0.0}
    assert two_one_sided(a, b, 0.5).flips == Flips(both=1, only_a=1, only_b=2, neither=1)


def test_runs_that_answer_alike_are_equivalent():
    a = {"q1": 1.0, "q2": 0.0}
    assert two_one_sided(a, dict(a), 0.01).equivalent
    assert not two_one_sided(a, {"q1": 2.0, "q2": 1.0}, 0.5).equivalent


@pytest.mark.parametrize(
    ("a", "b", "margin", "message"),
    [
        ({"q": 1.0}, {"p": 1.0}, 0.1, "2 questions that the other has not"),
        ({"q": 1.0}, {"q": 1.0}, 0.1, "at least two"),
        ({"q": 1.0, "p": float("nan")}, {"q": 1.0, "p": 1.0}, 0.1, "NaN"),
        ({"q": 1.0, "p": 1.0}, {"q": 1.0, "p": 1.0}, 0.0, "margin=0.0"),
    ],
)
def test_bad_arguments_are_named(a, b, margin, message):
    with pytest.raises(ValueError, match=message):
        two_one_sided(a, b, margin)
