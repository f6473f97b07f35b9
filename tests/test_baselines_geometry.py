"""k-center, k-means, facility location and DPP against their definitions on small pools."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines import dpp, facility_location, k_center, k_means


def points(n=40, d=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)) + 0.5


METHODS = {
    "k_center": lambda X, budget, mask=None: k_center.select(X, budget, seed=0, candidates=mask),
    "k_means": lambda X, budget, mask=None: k_means.select(X, budget, seed=0, candidates=mask),
    "facility_location": lambda X, budget, mask=None: facility_location.select(X, budget, candidates=mask),
    "dpp": lambda X, budget, mask=None: dpp.select(X, budget, candidates=mask),
}
NESTED = ["k_center", "facility_location", "dpp"]


@pytest.mark.parametrize("name", NESTED)
def test_smaller_budgets_are_prefixes(name):
    X = points()
    whole = METHODS[name](X, 40).indices
    assert sorted(whole) == list(range(40))
    for budget in (1, 3, 0.5):
        picked = METHODS[name](X, budget).indices
        assert np.array_equal(picked, whole[: len(picked)])


@pytest.mark.parametrize("name", METHODS)
def test_rows_outside_the_mask_are_neither_picked_nor_read(name):
    X, mask = points(), np.ones(40, dtype=bool)
    mask[[0, 7, 30]] = False
    among_kept = METHODS[name](X[mask], 12)
    X[7] = np.nan
    picked = METHODS[name](torch.tensor(X), 12, mask)
    assert np.array_equal(picked.indices, np.flatnonzero(mask)[among_kept.indices])
    np.testing.assert_allclose(picked.gains, among_kept.gains)


@pytest.mark.parametrize("name", METHODS)
def test_input_is_left_alone(name):
    X = points()
    X.flags.writeable = False
    METHODS[name](X, 5)


def test_k_center_takes_the_farthest_row_each_time():
    X = points()
    picked = k_center.select(X, 12, seed=2)
    for t in range(1, 12):
        nearest = np.linalg.norm(X[:, None] - X[picked.indices[:t]], axis=2).min(axis=1)
        assert nearest.argmax() == picked.indices[t]
        np.testing.assert_allclose(picked.gains[t], nearest.max())
    nearest = np.linalg.norm(X[:, None] - X[picked.indices], axis=2).min(axis=1)
    np.testing.assert_allclose(picked.objective["radius"], nearest.max())


def test_k_center_draws_its_first_pick_by_seed_and_leaves_duplicates_to_the_end():
    assert len({int(k_center.select(points(), 1, seed=s).indices[0]) for s in range(20)}) > 5
    X = np.concatenate([points(6), points(6)])
    order = k_center.select(X, 12, seed=0).indices
    assert len({i % 6 for i in order[:6]}) == 6


def test_k_means_picks_one_row_near_the_middle_of_each_blob():
    rng = np.random.default_rng(1)
    sizes = [30, 20, 10]
    centres = np.array([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]])
    X = np.concatenate([c + rng.normal(size=(m, 2)) for c, m in zip(centres, sizes, strict=True)])
    picked = k_means.select(X, 3, seed=0)
    owner = np.repeat(range(3), sizes)
    assert owner[picked.indices].tolist() == [0, 1, 2]
    assert picked.gains.tolist() == sizes
    for row in picked.indices:
        blob = owner == owner[row]
        distance = np.linalg.norm(X - X[blob].mean(axis=0), axis=1)
        assert distance[row] == distance[blob].min()


def test_k_means_fills_up_where_the_pool_has_too_few_distinct_rows():
    X = np.repeat([[0.0, 0.0], [9.0, 9.0]], 4, axis=0)
    picked = k_means.select(X, 5, seed=0)
    assert len(set(picked.indices.tolist())) == 5
    assert {int(i) // 4 for i in picked.indices[:2]} == {0, 1}
    assert picked.gains.tolist()[2:] == [0, 0, 0]


@pytest.mark.parametrize("seed", range(12))
def test_k_means_inertia_is_none_where_every_distinct_row_has_a_cluster(seed):
    """scikit-learn's own is of labels from before it moves the centres of empty clusters."""
    X = np.random.default_rng(seed).integers(0, 4, size=(26, 2)).astype(float)
    picked = k_means.select(X, 22, seed=seed)
    assert picked.objective["inertia"] == pytest.approx(0, abs=1e-12)
    assert len(np.unique(X[picked.indices], axis=0)) == len(np.unique(X, axis=0))


def test_facility_location_takes_the_largest_gain_each_time():
    X = points(200, 4)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    similarity = np.maximum(unit @ unit.T, 0)
    picked = facility_location.select(X, 30)
    covered = np.zeros(200)
    for row, gain in zip(picked.indices, picked.gains, strict=True):
        gains = np.maximum(similarity - covered, 0).sum(axis=1)
        gains[picked.indices[: list(picked.indices).index(row)]] = -1
        assert row == gains.argmax()
        np.testing.assert_allclose(gain, gains.max())
        covered = np.maximum(covered, similarity[row])
    np.testing.assert_allclose(picked.objective["coverage"], covered.mean())


def test_facility_location_does_not_look_again_at_rows_that_are_covered(monkeypatch):
    looks, gains = [], facility_location._gains
    monkeypatch.setattr(
        facility_location,
        "_gains",
        lambda similar, block, covered: looks.append(len(block)) or gains(similar, block, covered),
    )
    picked = facility_location.select(np.repeat(points(3), 300, axis=0), 200)
    assert sorted(picked.indices[:3]) == [0, 300, 600]
    assert list(picked.indices[3:]) == [row for row in range(201) if row not in picked.indices[:3]][:197]
    assert sum(looks) < 3 * 900  # once at the start, and then those that still compete


@pytest.mark.parametrize("ridge", [1e-12, 1e-9])
def test_dpp_goes_on_with_the_least_gain_where_every_direction_is_taken(ridge):
    gains = dpp.select(np.repeat(points(6), 5, axis=0), 30, ridge=ridge).gains
    assert (gains[:5] > -10).all()
    # f^T A^-1 f of a row that stands in A at least once is at most 1: lam <= g <= 2 lam.
    assert (gains[6:] >= np.log(ridge)).all()
    assert (gains[6:] <= np.log(2.1 * ridge)).all()


def test_dpp_takes_the_largest_determinant_each_time_beyond_the_dimension():
    X, ridge = points(30, 4), 0.3
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    K = unit @ unit.T + ridge * np.eye(30)
    picked = dpp.select(X, 12, ridge=ridge)
    for t in range(12):
        before = list(picked.indices[:t])
        values = [
            -np.inf if j in before else np.linalg.slogdet(K[np.ix_([*before, j], [*before, j])])[1]
            for j in range(30)
        ]
        if t:  # the first picks all tie
            assert picked.indices[t] == int(np.argmax(values))
    np.testing.assert_allclose(picked.objective["log_det"], max(values), rtol=1e-9)


def plain_dpp(X, count, ridge=1.0):
    """One matrix, conditioned on one pick after the other."""
    K = X @ X.T + ridge * np.eye(len(X))
    picks = []
    for _ in range(count):
        left = np.where(np.isin(np.arange(len(X)), picks), -np.inf, K.diagonal())
        picks.append(int((left >= left.max() * (1 - 1e-12)).argmax()))
        K = K - np.outer(K[:, picks[-1]], K[picks[-1]]) / K[picks[-1], picks[-1]]
    return picks


def plain_facility_location(X, count):
    similarity, covered, picks = np.maximum(X @ X.T, 0), np.zeros(len(X)), []
    for _ in range(count):
        gains = np.maximum(similarity - covered, 0).sum(axis=1)
        gains[picks] = -np.inf
        picks.append(int((gains >= gains.max() - 1e-12 * len(X)).argmax()))
        covered = np.maximum(covered, similarity[picks[-1]])
    return picks


PLAIN = {"dpp": plain_dpp, "facility_location": plain_facility_location}


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", PLAIN)
def test_picks_are_those_of_a_plain_loop_with_duplicates_and_ties(name, seed, copies, monkeypatch):
    monkeypatch.setattr(dpp, "_LOOK", 5)
    monkeypatch.setattr(dpp, "_LEADERS", 12)  # guesses fail often
    rng = np.random.default_rng(seed)
    X = np.concatenate([points(60, 12, seed), np.eye(12), -np.eye(12)] * copies)
    X = X[rng.permutation(len(X))] * rng.choice([1.0, 2.0, 4.0], size=(len(X), 1))
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    count = 60
    assert METHODS[name](X, count).indices.tolist() == PLAIN[name](unit, count)
    # Facility location of a pool too large for its similarities to be kept:
    monkeypatch.setattr(facility_location, "_KEPT", 20 * 8 * len(X))
    assert METHODS[name](X, count).indices.tolist() == PLAIN[name](unit, count)


@pytest.mark.parametrize("name", ["facility_location", "dpp"])
def test_ties_go_to_the_lowest_index(name):
    X = np.tile(np.eye(3), (4, 1))
    assert METHODS[name](X, 12).indices[:3].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X: k_center.select(X, 99, seed=0), "budget: got 99"),
        (lambda X: k_center.select(X, 1, seed=-1), "seed: got -1"),
        (lambda X: k_means.select(X, 2, seed=0, max_iter=0), "max_iter: got 0"),
        (lambda X: k_means.select(X[0], 2, seed=0), "features: has shape"),
        (lambda X: facility_location.select(X * 0, 2), "features: row 0 is zero"),
        (lambda X: facility_location.select(X.tolist(), 2), "features: got list"),
        (lambda X: dpp.select(X, 2, ridge=0.0), r"ridge: got 0\.0"),
        (lambda X: dpp.select(X, 2, ridge=1e-13), "ridge: got 1e-13; give a finite number >= 1e-12"),
        (lambda X: dpp.select(X * np.inf, 2), "features: row 0 holds NaN or inf"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(points())
