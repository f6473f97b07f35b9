"""Comparison of two runs: numbers derived by hand, properties, and one test for each error."""

import math

import pytest
from scipy.stats import binomtest
from test_eval_statistics import run

from eval.paired import differences, holm, paired_permutation


# Differences 1, 2, 3: the observed sum 6 is reached only by + + + and - - -: p = 2/8. Differences 1, 2, -3
# sum to 0: every pattern reaches 0.
def test_permutation_enumerates_small_cases():
    assert paired_permutation(run(1, 2, 3), run(0, 0, 0)) == pytest.approx(2 / 8)
    assert paired_permutation(run(1, 2, 0), run(0, 0, 3)) == 1.0
    assert paired_permutation(run(1, 2), run(1, 2)) == 1.0


# 5 wins, 1 loss: p = 2 (C(6,0) + C(6,1)) / 2^6 = 14/64.
def test_permutation_of_binary_outcomes_is_the_sign_test():
    a, b = run(1, 1, 1, 1, 1, 0, 1, 0), run(0, 0, 0, 0, 0, 1, 1, 0)
    assert paired_permutation(a, b) == pytest.approx(14 / 64)


# Two seeds, both with differences 1, 2, 3. By question the sums are 2, 4, 6: p = 2/8; by seed they are 6,
# 6: p = 2/4.
def test_permutation_unit_decides_what_is_exchanged():
    a, b = run(1, 2, 3, seed=0) | run(1, 2, 3, seed=1), run(0, 0, 0, seed=0) | run(0, 0, 0, seed=1)
    p = {unit: paired_permutation(a, b, unit=unit) for unit in ("question", "seed")}
    assert p == {"question": 2 / 8, "seed": 2 / 4}


def test_random_permutations_agree_with_the_exact_binary_test_and_follow_the_seed():
    values = [1] * 30 + [0] * 18 + [1] * 20
    others = [0] * 30 + [1] * 18 + [1] * 20
    a, b = run(*values), run(*others)
    p_value = paired_permutation(a, b, seed=0)
    assert p_value == pytest.approx(binomtest(18, 48).pvalue, abs=0.015)
    assert paired_permutation(a, b, seed=0) == p_value


def test_permutation_reports_all_bad_arguments_at_once():
    with pytest.raises(ValueError, match=r"unit='row', resamples=0: give"):
        paired_permutation(run(1), run(0), unit="row", resamples=0)


def test_runs_on_different_questions_cannot_be_paired():
    with pytest.raises(ValueError, match=r"1 only in a \(the first: \(0, 'q02'\)\), 0 only in b"):
        differences(run(1, 2, 3), run(1, 2))
    with pytest.raises(ValueError, match="no outcomes to compare"):
        differences({}, {})
    with pytest.raises(
        ValueError, match=r"run b has 1 outcomes that are not finite \(the first: \(0, 'q01'\)\)"
    ):
        paired_permutation(run(1, 2), run(1, math.nan))


# Sorted .01, .03, .04 times 3, 2, 1 = .03, .06, .04; the running maximum makes the last .06.
def test_holm_steps_down_and_keeps_the_order_given():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_names_the_bad_p_value():
    with pytest.raises(ValueError, match=r"p_values\[1\] is nan; p-values lie in 0\.\.1"):
        holm([0.1, math.nan])
