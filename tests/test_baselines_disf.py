"""DiSF: the same picks as the formula, exact totals, nesting, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines import disf


def greedy(X, k, first):
    """Picks in one batch from a given first row."""
    return disf._greedy(X.astype(np.float64), k, first)[0]


def naive_criterion(X):
    m = len(X)
    Z = (X - X.mean(axis=0)) / np.sqrt(1e-8 + X.var(axis=0, ddof=1))
    R = Z.T @ Z / (m - 1)
    return (R**2).sum() - (np.diag(R) ** 2).sum()


def naive_pick(X, k, first):
    picks = [first]
    while len(picks) < k:
        values = [np.inf if j in picks else naive_criterion(X[[*picks, j]]) for j in range(len(X))]
        picks.append(int(np.argmin(values)))
    return picks


def embeddings(n, d, seed=0):
    """Unit rows around a few centres, with a common direction, as sentence encoders give them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(5, d))[rng.integers(5, size=n)] + rng.normal(size=(n, d)) + 1.0
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("n", "d", "k"), [(60, 24, 12), (40, 3, 20), (30, 6, 30), (50, 64, 6)])
def test_picks_equal_the_formula(n, d, k):
    # (40, 3) and (30, 6) pass the point where the scatter matrix replaces the picks.
    X = embeddings(n, d)
    for first in (0, n // 2):
        assert greedy(X, k, first).tolist() == naive_pick(X.astype(np.float64), k, first)


def test_the_criterion_reported_is_that_of_the_picks():
    X = embeddings(50, 8).astype(np.float64)
    picked = disf.select(X, 9, batch_size=50, seed=0)
    for m in range(2, 10):
        np.testing.assert_allclose(-picked.gains[m - 1], naive_criterion(X[picked.indices[:m]]), rtol=1e-9)
    whole = naive_criterion(X[picked.indices]) / (8 * 7)
    np.testing.assert_allclose(picked.objective["squared_correlation"], whole, rtol=1e-9)


def test_ties_go_to_the_lowest_index():
    X = embeddings(20, 5)
    X[11] = X[17] = X[4]
    order = greedy(X, 20, 0).tolist()
    assert order.index(4) < order.index(11) < order.index(17)


def test_constant_columns_and_duplicates_do_no_harm():
    X = np.ones((6, 3))
    assert greedy(X, 6, 2).tolist() == [2, 0, 1, 3, 4, 5]


@pytest.mark.parametrize("budget", [1, 2, 3, 7, 10, 0.5, 55, 1.0])
def test_the_total_is_exact_and_smaller_budgets_are_prefixes(budget):
    X = embeddings(55, 6)  # batches of 16, 16, 16 and 7
    whole = disf.select(X, 55, batch_size=16, seed=3).indices
    assert sorted(whole) == list(range(55))
    picked = disf.select(X, budget, batch_size=16, seed=3).indices
    assert len(picked) == (budget if isinstance(budget, int) else max(1, round(budget * 55)))
    assert np.array_equal(picked, whole[: len(picked)])


def test_each_batch_gets_its_share_and_its_own_greedy_picks():
    X, seed = embeddings(44, 6), 0  # batches of 16, 16 and 12; a quarter of each: 4, 4, 3
    picked = disf.select(X, 11, batch_size=16, seed=seed).indices
    shuffled = np.random.default_rng(seed).permutation(44)
    for start, share in ((0, 4), (16, 4), (32, 3)):
        batch = np.sort(shuffled[start : start + 16])
        mine = [i for i in picked if i in batch]
        first = int(np.searchsorted(batch, shuffled[start]))
        assert mine == batch[naive_pick(X[batch].astype(np.float64), share, first)].tolist()


def test_rows_outside_the_mask_are_neither_picked_nor_read():
    X = embeddings(30, 4)
    mask = np.ones(30, dtype=bool)
    mask[[2, 9]] = False
    expected = disf.select(X, 12, batch_size=8, seed=1, candidates=mask).indices
    X[2] = np.nan
    assert np.array_equal(
        disf.select(torch.tensor(X), 12, batch_size=8, seed=1, candidates=mask).indices, expected
    )
    assert not {2, 9} & set(expected.tolist())


def test_the_seed_decides_batches_and_first_picks():
    X = embeddings(30, 4)
    assert len({int(disf.select(X, 1, seed=seed).indices[0]) for seed in range(30)}) > 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X: disf.select(X, 2, seed=0, batch_size=0), "batch_size: got 0"),
        (lambda X: disf.select(X, 2, seed=-1), "seed: got -1"),
        (lambda X: disf.select(X, 10, seed=0), "budget: got 10"),
        (
            lambda X: disf.select(X * np.array([[1, np.nan, 1]]), 2, seed=0),
            "features: row 0 holds NaN or inf",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.abs(embeddings(9, 3)))
