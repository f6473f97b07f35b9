"""Random, full, top score, gate + random: order, nesting, masks and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines import full, gate_random, random, top_score
from selection.types import Selection

SCORES = np.array([[1.0, 10.0], [5.0, 50.0], [3.0, 20.0], [5.0, 50.0], [2.0, 40.0], [4.0, 10.0]])
MASK = np.array([True, False, True, True, True, True])

METHODS = {
    "random": lambda budget, mask=None, seed=0: random.select(6, budget, seed=seed, candidates=mask),
    "top_score": lambda budget, mask=None, **_: top_score.select(SCORES, budget, candidates=mask),
    "gate_random": lambda budget, mask=None, seed=0: gate_random.select(
        SCORES, budget, seed=seed, candidates=mask
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_picks_for_a_budget_are_a_prefix_of_the_picks_for_a_larger_one(name):
    whole = METHODS[name](6).indices
    assert sorted(whole) == list(range(6))
    for budget in range(1, 6):
        assert np.array_equal(METHODS[name](budget).indices, whole[:budget])


@pytest.mark.parametrize("name", METHODS)
def test_rows_outside_the_mask_are_never_picked(name):
    picked = METHODS[name](5, MASK)
    assert isinstance(picked, Selection)
    assert sorted(picked.indices) == [0, 2, 3, 4, 5]
    assert picked.indices.dtype == np.int64
    assert picked.gains.shape == (5,)
    assert picked.gains.dtype == np.float64


@pytest.mark.parametrize("name", METHODS)
def test_a_share_counts_rows_of_the_whole_pool(name):
    assert len(METHODS[name](0.5, MASK).indices) == 3


@pytest.mark.parametrize("name", ["random", "gate_random"])
def test_the_seed_decides_the_order_and_seed_zero_is_a_seed(name):
    orders = {tuple(METHODS[name](6, seed=seed).indices) for seed in range(20)}
    assert len(orders) > 3
    assert np.array_equal(METHODS[name](6, seed=0).indices, METHODS[name](6, seed=0).indices)


def test_random_leaves_the_global_generator_alone():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    random.select(100, 10, seed=0)
    assert np.array_equal(before, np.random.get_state()[1])


def test_a_mask_only_thins_the_random_permutation():
    kept = [i for i in random.select(6, 6, seed=4).indices if MASK[i]]
    assert list(random.select(6, 5, seed=4, candidates=MASK).indices) == kept


def test_full_gives_every_allowed_row_in_pool_order():
    assert list(full.select(4).indices) == [0, 1, 2, 3]
    assert list(full.select(6, candidates=MASK).indices) == [0, 2, 3, 4, 5]


def test_top_score_ranks_by_the_mean_of_columns_divided_by_their_root_mean_square():
    rms = np.sqrt((SCORES**2).mean(axis=0))
    mean = (SCORES / rms).mean(axis=1)
    picked = top_score.select(SCORES, 6)
    assert list(picked.indices) == sorted(range(6), key=lambda i: (-mean[i], i))
    np.testing.assert_allclose(picked.gains, mean[picked.indices])
    assert list(picked.indices[:2]) == [1, 3]  # equal scores: lowest index first


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_top_score_does_not_depend_on_the_unit_of_a_column(scale):
    expected = top_score.select(SCORES, 6)
    picked = top_score.select(SCORES * [scale, 1.0], 6)
    assert list(picked.indices) == list(expected.indices)
    np.testing.assert_allclose(picked.gains, expected.gains)


def test_top_score_reads_tensors_vectors_and_ignores_rows_outside_the_mask():
    holed = SCORES.copy()
    holed[1] = np.nan
    expected = top_score.select(SCORES[MASK], 3).indices
    assert list(top_score.select(torch.tensor(holed), 3, candidates=MASK).indices) == list(
        np.flatnonzero(MASK)[expected]
    )
    assert list(top_score.select(SCORES[:, 0], 2).indices) == [1, 3]


def test_gate_random_fills_the_gate_first_and_then_follows_the_scores():
    best = top_score.select(SCORES, 6).indices
    for seed in range(10):
        order = gate_random.select(SCORES, 6, seed=seed, gate=0.5).indices
        assert set(order[:3]) == set(best[:3])
        assert list(order[3:]) == list(best[3:])


def test_gate_one_is_a_plain_random_order():
    firsts = {int(gate_random.select(SCORES, 1, seed=s, gate=1.0).indices[0]) for s in range(60)}
    assert firsts == set(range(6))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: random.select(6, 7, seed=0), "budget: got 7"),
        (lambda: random.select(6, 0, seed=0), "budget: got 0"),
        (lambda: random.select(6, 1.5, seed=0), r"budget: got 1\.5"),
        (lambda: random.select(6, "many", seed=0), "budget: got 'many'"),
        (lambda: random.select(6, 2, seed=-1), "seed: got -1"),
        (lambda: random.select(0, 2, seed=0), "n: got 0"),
        (lambda: random.select(6, 6, seed=0, candidates=MASK), "budget: asks for 6 .* allows 5 of 6"),
        (lambda: random.select(6, 2, seed=0, candidates=MASK[:4]), "candidates: has dtype bool and shape"),
        (lambda: full.select(6, candidates=np.zeros(6, bool)), "candidates: is False for every row"),
        (lambda: full.select(6, candidates=np.ones(6)), "candidates: has dtype float64"),
        (lambda: top_score.select(np.zeros((3, 2, 2)), 1), "scores: has shape"),
        (lambda: top_score.select("high", 1), "scores: got str"),
        (lambda: top_score.select(np.array([[1.0], [np.nan]]), 1), "scores: row 1 holds NaN or inf"),
        (lambda: top_score.select(np.array([[1.0, 0.0], [2.0, 0.0]]), 1), "scores: column 1 is zero"),
        (lambda: gate_random.select(SCORES, 1, seed=0, gate=0.0), r"gate: got 0\.0"),
        (lambda: gate_random.select(SCORES, 1, seed=0, gate=True), "gate: got True"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_several_bad_arguments_are_reported_together():
    with pytest.raises(ValueError, match=r"(?s)3 bad arguments.*seed.*budget.*gate"):
        gate_random.select(SCORES, 9, seed=-1, gate=2)
