"""Statistics: numbers derived by hand, properties, and one test for each error."""

import math

import numpy as np
import pytest

from eval.statistics import Interval, bootstrap, mean_interval, standard_error, wilson


def run(*values, seed=0):
    """Outcomes of one seed on questions q00, q01, ..."""
    return {(seed, f"q{i:02d}"): value for i, value in enumerate(values)}


# z = 1.959964, z^2 = 3.841459. For 8 of 10: shrink = 1.3841459; centre = (.8 + .19207295) / 1.3841459 =
# .7167401; half = 1.959964 * sqrt(.016 + .0096036) / 1.3841459 = 1.959964 * .1600113 / 1.3841459 =
# .2265773.
def test_wilson_interval_of_eight_in_ten():
    interval = wilson(8, 10)
    assert interval.value == 0.8
    assert interval.n == 10
    assert interval.low == pytest.approx(0.7167401 - 0.2265773, abs=1e-6)
    assert interval.high == pytest.approx(0.7167401 + 0.2265773, abs=1e-6)


# With no success p = 0: high = (z^2/2n + z^2/2n) / (1 + z^2/n) = z^2 / (n + z^2) = 3.841459 / 13.841459.
def test_wilson_at_the_ends_stays_inside_zero_and_one():
    none, every = wilson(0, 10), wilson(10, 10)
    assert (none.low, every.high) == (0.0, 1.0)
    assert none.high == pytest.approx(3.841459 / 13.841459, abs=1e-6)
    assert every.low == pytest.approx(10 / 13.841459, abs=1e-6)


def test_wilson_reports_all_bad_arguments_at_once():
    with pytest.raises(ValueError, match=r"confidence is 1.5.*n is 0"):
        wilson(0, 0, confidence=1.5)
    with pytest.raises(ValueError, match=r"successes is 4; it must lie in 0\.\.3"):
        wilson(4, 3)


# Values 1, 2, 3, 4: variance with n - 1 is 5/3, so the error is sqrt(5/3) / 2.
def test_standard_error_is_std_over_root_n():
    assert standard_error([1, 2, 3, 4]) == pytest.approx(math.sqrt(5 / 3) / 2)
    assert math.isnan(standard_error([1.0]))


def test_published_standard_error_of_gsm8k_comes_out():
    values = np.zeros(1319)
    values[: round(0.8886 * 1319)] = 1
    assert standard_error(values) == pytest.approx(0.0086, abs=1e-4)


def test_mean_interval_approaches_the_normal_one_and_follows_its_seed():
    values = np.random.default_rng(0).normal(5, 2, size=400)
    interval = mean_interval(values, seed=0)
    half = 1.96 * standard_error(values)
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.02)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.02)
    assert mean_interval(values, seed=0) == interval
    assert mean_interval(values, seed=1) != interval


# Two values 0 and 1: a resample has mean 0, 1/2, 1 with chances 1/4, 1/2, 1/4. At 40 % confidence the
# quantiles at .3 and .7 fall on 1/2; at 60 % those at .2 and .8 fall on 0 and 1.
def test_bootstrap_quantiles_of_two_values():
    middle = mean_interval([0, 1], confidence=0.4)
    outer = mean_interval([0, 1], confidence=0.6)
    assert (middle.low, middle.high) == (0.5, 0.5)
    assert (outer.low, outer.high) == (0.0, 1.0)


def test_one_value_has_no_interval_and_says_so():
    interval = mean_interval([3.0])
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert interval.as_dict() == {"value": 3.0, "n": 1, "low": None, "high": None}


def test_interval_as_dict_is_what_result_json_keeps():
    assert Interval(0.5, 4, 0.1, 0.9, seeds=2).as_dict() == {"value": 0.5, "n": 4, "low": 0.1, "high": 0.9}


# Seeds differ (0 and 1 everywhere), questions do not: all spread comes from seeds, means 0, 1/2, 1 as above.
def test_two_level_bootstrap_sees_the_spread_between_seeds():
    outcomes = run(0, 0, 0, seed=0) | run(1, 1, 1, seed=7)
    interval = bootstrap(outcomes, confidence=0.6)
    assert (interval.low, interval.value, interval.high) == (0.0, 0.5, 1.0)
    assert (interval.n, interval.seeds) == (6, 2)


def test_two_level_bootstrap_of_one_seed_equals_the_plain_one_and_says_one_seed():
    values = [0.0, 1.0, 1.0, 0.5, 0.25]
    interval = bootstrap(run(*values), seed=3)
    assert interval == mean_interval(values, seed=3)
    assert interval.seeds == 1


def test_two_level_bootstrap_ignores_insertion_order_and_is_wider_than_either_level():
    rng = np.random.default_rng(1)
    table = rng.normal(size=(4, 50)) + rng.normal(size=(4, 1))
    outcomes = {(s, f"q{q:02d}"): table[s, q] for s in range(4) for q in range(50)}
    backwards = dict(reversed(outcomes.items()))
    interval = bootstrap(outcomes)
    assert bootstrap(backwards) == interval
    over_questions = mean_interval(table.mean(axis=0))
    assert interval.high - interval.low > over_questions.high - over_questions.low


def test_bootstrap_refuses_seeds_with_different_questions():
    with pytest.raises(ValueError, match=r"1 of 4 \(seed, question\) pairs are missing.*\(1, 'q01'\)"):
        bootstrap(run(0, 1, seed=0) | run(1, seed=1))
    with pytest.raises(ValueError, match="outcomes is empty"):
        bootstrap({})


def test_intervals_refuse_bad_values_and_bad_settings():
    with pytest.raises(ValueError, match=r"values\[1\] is nan \(1 of 2 are not finite\).*leave unscored"):
        mean_interval([1.0, math.nan])
    with pytest.raises(ValueError, match=r"values has shape \(0,\)"):
        mean_interval([])
    with pytest.raises(ValueError, match=r"confidence is 0.*resamples is 0"):
        mean_interval([1.0, 2.0], confidence=0, resamples=0)
