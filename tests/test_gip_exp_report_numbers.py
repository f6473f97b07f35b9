"""The report's numbers against numbers worked out by hand from the outcomes."""

import math

import pytest

from gip_exp.report.arrange import make_study, name_metrics
from gip_exp.report.compare import Answer, difference, summarise
from gip_exp.report.rows import make_result
from gip_exp.report.runs import read_runs
from gip_exp.report.subsets import average, costs, jaccard, overlaps, stage_seconds
from tests.report_runs import GSM8K, write_run

# Four questions, two seeds.
MP = ([1, 1, 1, 0], [1, 1, 0, 1])
RANDOM = ([1, 0, 1, 0], [0, 1, 0, 0])
FULL = ([1, 1, 1, 1], [1, 1, 1, 1])


def answers(*seeds):
    return {
        s: {f"q{i}": Answer(float(v), "") for i, v in enumerate(values)} for s, values in enumerate(seeds)
    }


def the_group(root):
    (group,) = make_study(name_metrics(read_runs(root).runs))
    return group


@pytest.fixture
def group(tmp_path):
    for seed in (0, 1):
        for selector, values in (("mp_ma", MP), ("random", RANDOM), ("full", FULL)):
            write_run(tmp_path, selector, seed=seed, values={GSM8K: values[seed]})
    return the_group(tmp_path)


def test_means_and_the_papers_standard_error(group):
    mp, random, full = make_result(group, GSM8K).rows
    assert (mp.summary.mean.value, random.summary.mean.value, full.summary.mean.value) == (0.75, 0.375, 1.0)
    # std of three 1 and one 0 with n - 1: sqrt(.75 / 3) = .5, over sqrt(4): .25, in both seeds.
    assert mp.summary.error == pytest.approx(0.25)
    assert mp.summary.per_seed == (0.75, 0.75)
    assert random.summary.per_seed == (0.5, 0.25)
    assert mp.summary.kind == "seeds+questions"
    assert mp.summary.mean.low < 0.75 < mp.summary.mean.high


def test_paired_differences_and_their_permutation_p_values(group):
    mp, random, full = make_result(group, GSM8K).rows
    to_random = mp.against("random").difference
    assert to_random.mean.value == pytest.approx(0.375)
    assert to_random.per_seed == (0.25, 0.5)
    # Sums by question 1, 1, 0, 1: of 8 sign patterns 2 reach 3. By seed 1, 2: 2 of 4 reach 3.
    assert (to_random.p_questions, to_random.p_seeds) == (0.25, 0.5)
    # Against full: by question 0, 0, -1, -1 (2 of 4); random: -1, -1, -1, -2 (2 of 16).
    assert mp.against("full").difference.p_questions == 0.5
    assert random.against("full").difference.p_questions == 0.125
    assert random.against("random") is None
    assert full.comparisons == ()


def test_holm_runs_over_the_whole_table(group):
    mp, random, _ = make_result(group, GSM8K).rows
    # Sorted .125, .25, .5 times 3, 2, 1 gives .375, .5, .5; by seeds .5 three times gives 1.
    assert random.against("full").p_questions == pytest.approx(0.375)
    assert mp.against("random").p_questions == pytest.approx(0.5)
    assert mp.against("full").p_questions == pytest.approx(0.5)
    assert mp.against("random").p_seeds == 1.0


def test_the_wider_bounds_are_students_with_two_seeds():
    found = difference(answers(*MP), answers(*RANDOM))
    # Seed means .25 and .5: sd .1767767, over sqrt(2) .125; t(.975, 1) = 12.7062; half-width 1.588276.
    assert found.over_seeds == pytest.approx((0.375 - 1.588276, 0.375 + 1.588276), abs=1e-4)
    assert found.cautious == found.over_seeds


def test_one_seed_gives_wilson_and_no_p_value_over_seeds():
    found = summarise(answers(MP[0]))
    # p = .75, n = 4, z^2 = 3.841459: centre 1.230182 / 1.960365, half 1.959964 sqrt(.106898) / 1.960365.
    assert found.kind == "wilson"
    assert (found.mean.low, found.mean.high) == pytest.approx((0.300643, 0.954415), abs=1e-4)
    gap = difference(answers(MP[0]), answers(RANDOM[0]))
    assert math.isnan(gap.p_seeds)
    assert all(math.isnan(bound) for bound in gap.cautious)


def test_graded_outcomes_of_one_seed_are_bootstrapped_over_questions():
    found = summarise(answers([0.5, 1.5, 2.5]))
    assert found.kind == "questions"
    assert found.mean.low >= 0.5
    assert found.mean.high <= 2.5


def test_outcomes_that_are_all_alike_do_not_claim_certainty():
    found = summarise(answers([0, 0, 0], [0, 0, 0]))
    # Wilson's upper bound of 0 in 3: z^2 / (3 + z^2) = 3.841459 / 6.841459.
    assert found.kind == "alike"
    assert found.mean.high == pytest.approx(3.841459 / 6.841459, abs=1e-5)
    gap = difference(answers([0, 0, 0], [1, 1, 1]), answers([0, 0, 0], [1, 1, 1]))
    assert (gap.mean.low, gap.mean.high) == pytest.approx((-0.561498, 0.561498), abs=1e-5)


def test_questions_without_an_outcome_in_some_seed_are_left_out_and_counted():
    partial = answers([1, 0, 1], [1, 0, 1])
    del partial[1]["q2"]
    found = summarise(partial)
    assert (found.questions, found.dropped, found.mean.value) == (2, 1, 0.5)


def test_pairs_use_only_the_seeds_that_both_have():
    found = difference(answers(*MP), answers(RANDOM[0]))
    assert found.seeds == (0,)
    assert found.mean.value == pytest.approx(0.25)
    assert difference({0: answers(MP[0])[0]}, {1: answers(MP[0])[0]}) is None


def test_random_is_the_reference_at_the_same_budget_only(tmp_path):
    write_run(tmp_path, budget=0.1)
    write_run(tmp_path, "random", budget=0.2)
    mp, _ = make_result(the_group(tmp_path), GSM8K).rows
    assert mp.against("random") is None


def test_overlap_is_the_mean_jaccard_index_of_shared_seeds(tmp_path):
    assert jaccard(frozenset("abc"), frozenset("bcd")) == 0.5
    for seed, ours, theirs in ((0, [0, 1, 2], [1, 2, 3]), (1, [0, 1, 2], [0, 1, 2])):
        write_run(tmp_path, seed=seed, budget=3, selected=ours)
        write_run(tmp_path, "random", seed=seed, budget=3, selected=theirs)
    write_run(tmp_path, "mp_sc", seed=7, budget=3, selected=[0, 1, 2])
    (found,) = overlaps(the_group(tmp_path))
    assert [arm.method for arm in found.arms] == ["mp_ma", "mp_sc", "random"]
    assert found.values[0, 2] == found.values[2, 0] == 0.75
    assert found.seeds[0, 2] == 2
    assert math.isnan(found.values[0, 1])
    assert found.chance == pytest.approx(0.03 / 1.97)


def test_subset_numbers_are_means_over_seeds(tmp_path):
    for seed, share in ((0, 0.6), (1, 0.9)):
        write_run(tmp_path, seed=seed, subset={"clean_share": share, "skill_entropy": 2.0})
    (cell,) = the_group(tmp_path).cells
    assert average(cell) == pytest.approx({"clean_share": 0.75, "skill_entropy": 2.0})


def test_a_shared_output_costs_once_and_a_run_costs_all_its_stages(tmp_path):
    for seed, spent in ((0, 4.0), (1, 8.0)):
        keys = {"data": "d", "embed": "shared"}
        write_run(tmp_path, seed=seed, seconds={"embed": 10.0, "train": spent}, keys=keys)
    group = the_group(tmp_path)
    by_stage = {cost.stage: cost for cost in costs(group)}
    assert (by_stage["embed"].used, by_stage["embed"].made, by_stage["embed"].total) == (2, 1, 10.0)
    assert (by_stage["train"].made, by_stage["train"].each, by_stage["train"].total) == (2, 6.0, 12.0)
    assert list(by_stage) == ["data", "embed", "select", "train", "evaluate"]
    assert stage_seconds(group.cells[0])["train"] == 6.0
