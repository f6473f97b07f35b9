"""Verdicts: each of the four can come out, for the reason it should, and the paper can be wrong."""

from dataclasses import replace

import pytest

from gip_exp.report.arrange import make_study, name_metrics
from gip_exp.report.claims import CLAIMS, RANK_TIME, Claim
from gip_exp.report.runs import read_runs
from gip_exp.report.verdicts import (
    FAILS,
    HOLDS,
    NOT_RUN,
    UNDECIDED,
    decide,
    decide_all,
    elsewhere,
    state_of,
)
from tests.report_runs import GSM8K, write_run

GOOD, BAD = [1] * 40, [1, 0] * 20
BETTER = Claim(
    "toy",
    "MP+MA is better than random",
    "here",
    GSM8K,
    "better",
    ("mp_ma",),
    ("random",),
    margin=0.01,
    budgets=(0.1,),
    models=("tiny_arithmetic",),
)
NOT_WORSE = replace(BETTER, test="not_worse", references=("full",), margin=0.02)


def runs(root, ours, theirs, *, seeds=3, reference="random", metric=GSM8K, **more):
    for seed in range(seeds):
        write_run(root, "mp_ma", seed=seed, values={metric: ours}, **more)
        write_run(root, reference, seed=seed, values={metric: theirs}, **more)
    return study(root)


def study(root):
    return make_study(name_metrics(read_runs(root).runs))


def test_a_clear_gain_over_three_seeds_holds(tmp_path):
    found = decide(BETTER, runs(tmp_path, GOOD, BAD))
    assert (found.verdict, found.reason) == (HOLDS, "1 of 1 yes, 0 no, 0 open")
    (check,) = found.checks
    assert check.value == pytest.approx(0.5)
    assert check.seeds == 3


def test_a_clear_loss_fails(tmp_path):
    assert decide(BETTER, runs(tmp_path, BAD, GOOD)).verdict == FAILS


def test_two_seeds_decide_nothing_however_clear(tmp_path):
    found = decide(BETTER, runs(tmp_path, GOOD, BAD, seeds=2))
    assert found.verdict == UNDECIDED
    assert "too few seeds" in found.reason


def test_seeds_that_disagree_leave_it_open(tmp_path):
    for seed, ours in enumerate((GOOD, BAD, [0] * 40)):
        write_run(tmp_path, "mp_ma", seed=seed, values={GSM8K: ours})
        write_run(tmp_path, "random", seed=seed, values={GSM8K: BAD})
    found = decide(BETTER, study(tmp_path))
    assert found.verdict == UNDECIDED
    assert "intervals too wide" in found.reason


def test_without_the_runs_it_is_not_run(tmp_path):
    groups = runs(tmp_path, GOOD, BAD)
    assert decide(replace(BETTER, models=("qwen3_8b",)), groups).verdict == NOT_RUN
    assert decide(replace(BETTER, references=("less",)), groups).verdict == NOT_RUN
    assert decide(replace(BETTER, budgets=(0.2,)), groups).verdict == NOT_RUN


def test_missing_comparisons_keep_a_verdict_open(tmp_path):
    found = decide(replace(BETTER, budgets=(0.1, 0.2)), runs(tmp_path, GOOD, BAD))
    assert found.verdict == UNDECIDED
    assert "not all comparisons were run" in found.reason


def test_often_needs_its_share_only(tmp_path):
    groups = runs(tmp_path, GOOD, BAD)
    assert decide(replace(BETTER, budgets=(0.1, 0.2), share=0.5), groups).verdict == HOLDS


def test_as_good_as_the_full_data_holds_and_fails(tmp_path):
    assert decide(NOT_WORSE, runs(tmp_path / "a", GOOD, BAD, reference="full")).verdict == HOLDS
    assert decide(NOT_WORSE, runs(tmp_path / "b", BAD, GOOD, reference="full")).verdict == FAILS


def test_identical_outcomes_are_no_proof_of_equality(tmp_path):
    """40 questions on which nothing differs still allow 8.8 points (Wilson, 0 of 40): more than the margin."""
    assert decide(NOT_WORSE, runs(tmp_path, [0] * 40, [0] * 40, reference="full")).verdict == UNDECIDED


def test_where_small_is_good_the_sign_turns(tmp_path):
    nll = "answer_nll/numbers"
    groups = runs(tmp_path, [0.1, 0.2, 0.3] * 5, [1.1, 1.2, 1.3] * 5, metric=nll)
    found = decide(replace(BETTER, measure=nll), groups)
    assert found.verdict == HOLDS
    assert found.checks[0].value == pytest.approx(1.0)


def test_numbers_of_the_subset_are_compared_over_seeds(tmp_path):
    claim = replace(BETTER, measure="subset/clean_share", models=(), budgets=())
    for seed in range(3):
        write_run(tmp_path, "mp_ma", seed=seed, subset={"clean_share": 0.90 + 0.01 * seed})
        write_run(tmp_path, "random", seed=seed, subset={"clean_share": 0.60})
    found = decide(claim, study(tmp_path))
    # Differences .30, .31, .32: mean .31, standard error .01 / sqrt(3), t(.975, 2) = 4.302653.
    assert found.verdict == HOLDS
    assert found.checks[0].low == pytest.approx(0.31 - 4.302653 * 0.01 / 3**0.5, abs=1e-6)


@pytest.mark.parametrize(
    ("test", "low", "high", "state"),
    [
        ("better", 0.001, 0.2, "yes"),
        ("better", -0.1, 0.009, "no"),
        ("better", -0.1, 0.1, "open"),
        ("not_worse", -0.009, 0.2, "yes"),
        ("not_worse", -0.2, -0.011, "no"),
        ("not_worse", -0.2, -0.005, "open"),
    ],
)
def test_the_bounds_decide_by_the_claims_margin(test, low, high, state):
    assert state_of(replace(BETTER, test=test), low, high) == state


def test_the_papers_claims_are_not_decided_by_other_models(tmp_path):
    groups = runs(tmp_path, GOOD, BAD)
    verdicts = {found.claim.id: found.verdict for found in decide_all(groups)}
    assert set(verdicts.values()) == {NOT_RUN}
    (other,) = elsewhere(groups)
    # MP+SC was not run: with one yes of two comparisons the claim's half is reached.
    assert (other.claim.id, other.verdict) == ("better-than-random", HOLDS)


def test_the_papers_claim_can_fail(tmp_path):
    for model in ("qwen3_8b", "mistral_7b"):
        for budget in (0.1, 0.2):
            for seed in range(3):
                more = {"seed": seed, "model": model, "experiment": f"gsm8k_{model}"}
                for method in ("mp_ma", "mp_sc"):
                    write_run(tmp_path, method, budget=budget, values={GSM8K: BAD}, **more)
                if budget == 0.1:
                    write_run(tmp_path, "full", values={GSM8K: GOOD}, **more)
    verdicts = {found.claim.id: found for found in decide_all(study(tmp_path))}
    assert verdicts["near-full"].verdict == FAILS
    assert verdicts["near-full"].reason == "0 of 8 yes, 8 no, 0 open"


def test_claims_are_complete_and_distinct():
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        assert claim.test in ("better", "not_worse", "equivalent", "linear")
        assert 0 < claim.share <= 1
        assert claim.margin > 0
        assert claim.source in ("Abstract", "Figure 1", "Figure 2", "Reviews")


def test_matching_needs_a_difference_within_the_margin_on_both_sides(tmp_path):
    claim = replace(BETTER, test="equivalent", references=("full",), margin=0.05)
    near = [1] * 390 + [0] * 10
    for seed in range(3):
        moved = [1] * (389 - seed) + [0] * (1 + seed) + [1] + [0] * 9
        write_run(tmp_path, "mp_ma", seed=seed, values={GSM8K: moved})
        write_run(tmp_path, "full", seed=seed, values={GSM8K: near})
    found = decide(claim, study(tmp_path))
    assert found.verdict == HOLDS
    (check,) = found.checks
    assert check.flips == (3, 6)
    assert decide(replace(claim, margin=0.001), study(tmp_path)).verdict == UNDECIDED


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [
        (-0.01, 0.01, "yes"),
        (-0.03, 0.01, "open"),
        (-0.01, 0.03, "open"),
        (0.03, 0.05, "no"),
        (-0.05, -0.03, "no"),
    ],
)
def test_equivalence_is_two_one_sided_tests(low, high, state):
    assert state_of(replace(BETTER, test="equivalent", margin=0.02), low, high) == state


@pytest.mark.parametrize(("power", "verdict"), [(1.0, HOLDS), (2.0, FAILS)])
def test_time_is_judged_over_sizes_of_the_pool_at_equal_picks(tmp_path, power, verdict):
    claim = replace(
        BETTER, measure=RANK_TIME, test="linear", references=(), margin=0.2, models=(), budgets=()
    )
    for size in (1000, 4000, 16000, 64000):
        seconds = {"rank": 0.001 * size**power * (1.03 if size == 4000 else 1.0)}
        write_run(
            tmp_path, budget=20, n_pool=size, seconds=seconds, experiment=f"pool{size}", data_key=f"d{size}"
        )
    found = decide(claim, study(tmp_path))
    assert found.verdict == verdict
    (check,) = found.checks
    assert check.value == pytest.approx(power, abs=0.05)
    assert "1,000, 4,000, 16,000, 64,000 rows" in check.model


def test_two_sizes_of_the_pool_decide_nothing_about_time(tmp_path):
    claim = replace(BETTER, measure=RANK_TIME, test="linear", references=(), margin=0.2)
    for size in (1000, 4000):
        write_run(
            tmp_path,
            budget=20,
            n_pool=size,
            seconds={"rank": size / 1000},
            experiment=f"p{size}",
            data_key=f"d{size}",
        )
    found = decide(claim, study(tmp_path))
    assert found.verdict == UNDECIDED
    assert "too few sizes of pools" in found.reason
