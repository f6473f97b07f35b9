"""Greedy rules and reference formulas against brute force with explicit vectors in the augmented space."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from selection import gip_select, mutual_information, projection_energy

NOISE = 1e-6


@pytest.fixture(autouse=True)
def one_thread():
    """Small pools: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def prepared(raw: np.ndarray) -> np.ndarray:
    """Rows minus their mean, at unit length."""
    centred = raw - raw.mean(axis=0)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def augmented(rows: np.ndarray, ridge: float) -> np.ndarray:
    """Rows f~_i = (f_i, sqrt(ridge) e_i)."""
    return np.hstack([rows, np.sqrt(ridge) * np.eye(len(rows))])


def explicit_query(kind: str, rows: np.ndarray, ridge: float, signal: np.ndarray | None) -> np.ndarray:
    """Q~ as explicit columns in the augmented space, from raw scores or raw query embeddings."""
    n = len(rows)
    if kind == "scores":
        scaled = signal / np.sqrt((signal**2).mean(axis=0))
        lifted = augmented(rows, ridge)
        return lifted.T @ np.linalg.solve(lifted @ lifted.T, scaled)
    top = rows.T if kind == "compression" else signal
    return np.vstack([top, np.zeros((n, top.shape[1]))])


def uncovered(lifted: np.ndarray, chosen: list[int], query: np.ndarray) -> np.ndarray:
    """(I - P~) Q~ by least squares on the chosen augmented rows."""
    if not chosen:
        return query
    span = lifted[chosen].T
    return query - span @ np.linalg.lstsq(span, query, rcond=1e-10)[0]


def noisy_logdet(residual: np.ndarray) -> float:
    return np.linalg.slogdet(np.eye(residual.shape[1]) + residual.T @ residual / NOISE)[1]


def brute_gains(method: str, lifted: np.ndarray, query: np.ndarray, order: list[int]) -> np.ndarray:
    """Gain of every row after the picks in `order` of this round, straight from the definitions."""
    n = len(lifted)
    if method == "mp":
        residual = query.copy()
        for i in order:
            residual -= np.outer(lifted[i], lifted[i] @ residual) / (lifted[i] @ lifted[i])
        return ((lifted @ residual) ** 2).sum(axis=1) / (lifted**2).sum(axis=1)
    before = uncovered(lifted, order, query)
    after = [uncovered(lifted, [*order, j], query) for j in range(n)]
    if method == "omp":
        return np.array([(before**2).sum() - (r**2).sum() for r in after])
    return np.array([noisy_logdet(before) - noisy_logdet(r) for r in after])


def brute_select(method: str, lifted: np.ndarray, query: np.ndarray, budget: int) -> tuple[list, list]:
    order: list[int] = []
    gains = []
    for _ in range(budget):
        gain = brute_gains(method, lifted, query, order)
        gain[order] = -np.inf
        best = int(np.argmax(gain >= gain.max() * (1 - 1e-9)))
        order.append(best)
        gains.append(gain[best])
    return order, gains


def make_pool(seed: int, n: int, d: int, k: int, kind: str) -> tuple[np.ndarray, np.ndarray, dict]:
    """Raw features, prepared rows, and the keyword that states the query (raw)."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=(n, d)) + rng.normal(size=d)
    if kind == "scores":
        return raw, prepared(raw), {"scores": rng.uniform(1, 5, size=(n, k))}
    if kind == "queries":
        return raw, prepared(raw), {"queries": rng.normal(size=(d, k))}
    return raw, prepared(raw), {}


def stated_query(kind: str, raw: np.ndarray, rows: np.ndarray, ridge: float, given_query: dict) -> np.ndarray:
    signal = given_query.get("scores")
    if kind == "queries":
        signal = given_query["queries"] - raw.mean(axis=0)[:, None]
        signal = signal / np.linalg.norm(signal, axis=0)
    return explicit_query(kind, rows, ridge, signal)


@pytest.mark.parametrize("kind", ["scores", "queries", "compression"])
@pytest.mark.parametrize("method", ["mp", "omp", "logdet"])
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(4, 14),
    d=st.integers(2, 9),
    k=st.integers(1, 4),
    ridge=st.sampled_from([1.0, 0.1, 3.0]),
)
def test_picks_and_gains_equal_brute_force(*, kind, method, seed, n, d, k, ridge):
    raw, rows, query = make_pool(seed, n, d, k, kind)
    budget = n - 1
    got = gip_select(raw, budget, method=method, ridge=ridge, tol=0.0, dtype=torch.float64, **query)
    lifted = augmented(rows, ridge)
    order, gains = brute_select(method, lifted, stated_query(kind, raw, rows, ridge, query), budget)
    assert got.indices.tolist() == order
    # Brute-force log-determinants lose digits to noise 1e-6 in up to 14 columns; picks must still agree.
    np.testing.assert_allclose(got.gains, gains, rtol=1e-5, atol=1e-7 * abs(gains[0]))


@pytest.mark.parametrize("kind", ["queries", "compression"])
@pytest.mark.parametrize("method", ["mp", "omp"])
@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), n=st.integers(6, 12), d=st.integers(4, 8))
def test_ridge_zero_is_plain_orthogonal_projection(kind, method, seed, n, d):
    raw, rows, query = make_pool(seed, n, d, 3, kind)
    # Fewer picks than dimensions (n - 1 after centring): the span is not yet full, so there is one round.
    budget = min(d, n - 1) - 1
    got = gip_select(raw, budget, method=method, ridge=0.0, dtype=torch.float64, **query)
    lifted = augmented(rows, 0.0)
    order, gains = brute_select(method, lifted, stated_query(kind, raw, rows, 0.0, query), budget)
    length = budget if got.rounds == (0,) else got.rounds[1]
    assert got.indices[:length].tolist() == order[:length]
    np.testing.assert_allclose(got.gains[:length], gains[:length], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", ["scores", "queries", "compression"])
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6), n=st.integers(5, 14), d=st.integers(2, 9), ridge=st.sampled_from([1.0, 0.1])
)
def test_reference_formulas_equal_their_definitions(kind, seed, n, d, ridge):
    raw, rows, query = make_pool(seed, n, d, 3, kind)
    chosen = np.random.default_rng(seed).permutation(n)[: n // 2].tolist()
    lifted = augmented(rows, ridge)
    full = stated_query(kind, raw, rows, ridge, query)
    rest = uncovered(lifted, chosen, full)
    energy = projection_energy(raw, chosen, ridge=ridge, **query)
    assert energy == pytest.approx((full**2).sum() - (rest**2).sum(), rel=1e-8)
    nats = mutual_information(raw, chosen, ridge=ridge, noise=NOISE, **query)
    assert nats == pytest.approx(0.5 * (noisy_logdet(full) - noisy_logdet(rest)), rel=1e-5)


@pytest.mark.parametrize("kind", ["scores", "queries", "compression"])
def test_objective_of_a_selection_is_the_reference_formulas_on_its_rows(kind):
    raw, _, query = make_pool(3, 40, 6, 2, kind)
    got = gip_select(raw, 9, ridge=0.5, dtype=torch.float64, **query)
    energy = projection_energy(raw, got.indices, ridge=0.5, **query)
    assert got.objective["projection_energy"] == pytest.approx(energy)
    nats = mutual_information(raw, got.indices, ridge=0.5, **query)
    assert got.objective["mutual_information"] == pytest.approx(nats)


@pytest.mark.parametrize("kind", ["scores", "queries", "compression"])
@pytest.mark.parametrize("method", ["mp", "omp"])
def test_selecting_does_not_compute_the_objective(kind, method, monkeypatch):
    def refuse(*_):
        raise AssertionError("the objective was computed before anybody looked at it")

    monkeypatch.setattr("selection.select.describe", refuse)
    monkeypatch.setattr("selection.select.query_gram", refuse)
    raw, _, query = make_pool(3, 40, 6, 2, kind)
    got = gip_select(raw, 9, method=method, **query)
    with pytest.raises(AssertionError, match="before anybody looked"):
        dict(got.objective)


@pytest.mark.parametrize("kind", ["scores", "queries", "compression"])
def test_gains_add_up_to_the_objective(kind):
    raw, _, query = make_pool(11, 30, 7, 3, kind)
    omp = gip_select(raw, 12, method="omp", dtype=torch.float64, **query)
    assert omp.gains.sum() == pytest.approx(omp.objective["projection_energy"])
    logdet = gip_select(raw, 12, method="logdet", dtype=torch.float64, **query)
    assert logdet.gains.sum() == pytest.approx(2 * logdet.objective["mutual_information"], rel=1e-6)
    mp = gip_select(raw, 12, dtype=torch.float64, **query)
    assert 0 < mp.gains.sum() <= mp.objective["projection_energy"]


@pytest.mark.parametrize(("method", "second"), [("mp", 1.5**2 / 2), ("omp", 1.5**2 / 1.5)])
def test_covering_a_row_raises_the_gain_of_the_row_opposite_to_it(method, second):
    got = gip_select(np.array([[1.0, 0.0], [-1.0, 0.0]]), 2, scores=np.ones((2, 1)), method=method)
    np.testing.assert_allclose(got.gains, [0.5, second])


def test_information_without_noise_is_the_ratio_of_determinants():
    raw, rows, query = make_pool(5, 12, 5, 2, "scores")
    chosen = [1, 4, 7]
    lifted = augmented(rows, 1.0)
    full = stated_query("scores", raw, rows, 1.0, query)
    rest = uncovered(lifted, chosen, full)
    expected = 0.5 * np.log(np.linalg.det(full.T @ full) / np.linalg.det(rest.T @ rest))
    assert mutual_information(raw, chosen, noise=0.0, **query) == pytest.approx(expected)
