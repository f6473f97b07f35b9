"""QDIT, DEITA, longest, distinct random: each against its definition, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from baselines import (
    deita,
    distinct_random,
    facility_location,
    ifd,
    longest,
    perplexity,
    qdit,
    random,
    top_score,
)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def pool(n=80, d=6, seed=0):
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(12, d)))
    return unit(centres[rng.integers(12, size=n)] + 0.15 * rng.normal(size=(n, d))), rng.uniform(
        1, 5, size=(n, 3)
    )


@pytest.mark.parametrize("alpha", [0.2, 0.7])
def test_qdit_takes_the_largest_weighted_gain(alpha):
    X, scores = pool()
    u = np.maximum(0, X @ X.T)
    quality = top_score.mean_scores(scores, np.arange(80))
    quality = (quality - quality.min()) / (quality.max() - quality.min())
    covered, picks = np.zeros(80), []
    scale = u.sum(axis=1).max()
    for _ in range(20):
        gain = (1 - alpha) * np.maximum(u - covered, 0).sum(axis=1) / scale + alpha * quality
        gain[picks] = -np.inf
        picks.append(int(gain.argmax()))
        covered = np.maximum(covered, u[picks[-1]])
    found = qdit.select(X * 2, scores, 20, alpha=alpha)
    assert found.indices.tolist() == picks
    assert found.objective["coverage"] == pytest.approx(covered.mean())


def test_the_ends_of_qdit_are_facility_location_and_top_score():
    X, scores = pool()
    assert np.array_equal(
        qdit.select(X, scores, 30, alpha=0.0).indices, facility_location.select(X, 30).indices
    )
    assert np.array_equal(qdit.select(X, scores, 30, alpha=1.0).indices, top_score.select(scores, 30).indices)


@pytest.mark.parametrize("budget", [5, 30, 80])
def test_deita_skips_rows_near_a_pick_and_takes_them_last(budget):
    X, scores = pool(600)
    X, scores = X[:80], scores[:80]
    product = scores[:, 2] * scores[:, :2].mean(axis=1)
    kept, close = [], []
    for row in np.argsort(-product, kind="stable"):
        (close if kept and (X[kept] @ X[row]).max() > 0.9 else kept).append(int(row))
    assert 10 < len(kept) < 60
    notes = []
    found = deita.select(
        X, scores, budget, score_names=["accuracy", "clarity", "difficulty"], note=notes.append
    )
    assert found.indices.tolist() == (kept + close)[:budget]
    assert len(notes) == (budget > len(kept))


def test_distinct_random_is_random_without_near_copies():
    X, _ = pool(1500)
    found = distinct_random.select(X, 40, seed=3, similarity=0.99).indices
    order = random.select(1500, 1500, seed=3).indices
    kept = []
    for row in order:
        if not kept or (X[kept] @ X[row]).max() <= 0.99:
            kept.append(int(row))
    assert found.tolist() == kept[:40]
    assert (np.triu(X[found] @ X[found].T, 1) <= 0.99).all()


def test_longest_takes_long_completions():
    assert longest.select(["aa", "b", "cc", "dddd"], 3).indices.tolist() == [3, 0, 2]


def test_ifd_takes_the_largest_ratio_below_one_and_mismatches_last():
    losses = np.log([[2.0, 4.0], [3.0, 4.0], [9.0, 4.0], [1.0, 4.0], [5.0, 4.0]])
    notes = []
    found = ifd.select(losses, 5, note=notes.append)
    assert found.indices.tolist() == [1, 0, 3, 4, 2]
    np.testing.assert_allclose(found.gains, [0.75, 0.5, 0.25, 1.25, 2.25])
    assert notes == [
        "only 3 of 5 rows have an IFD below 1, so picks after the first 3 are rows whose prompt does not help"
    ]
    ifd.select(losses, 3, note=notes.append)
    assert len(notes) == 1


@pytest.mark.parametrize(("part", "picks"), [("low", [3, 1, 2]), ("high", [4, 0, 2]), ("middle", [2, 0, 1])])
def test_perplexity_takes_one_part_of_the_ranks(part, picks):
    losses = np.array([[3.0], [1.0], [2.0], [0.5], [9.0], [np.nan]])
    found = perplexity.select(losses, 3, part=part, candidates=np.arange(6) < 5)
    assert found.indices.tolist() == picks


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda X, S: deita.select(X, S, 3, score_names=["a", "b", "c"]),
            "complexity: got 'difficulty'; give",
        ),
        (
            lambda X, S: deita.select(X, S * [-1, 1, 1], 3, score_names=["a", "b", "c"], complexity="a"),
            "below 0",
        ),
        (
            lambda X, S: deita.select(X[:9], S, 3, score_names=["a", "b", "c"], complexity="a"),
            "scores: has shape",
        ),
        (lambda X, S: qdit.select(X, S[:9], 3), "scores: has 9 rows for 80"),
        (lambda X, S: qdit.select(X, S, 3, alpha=1.5), "alpha: got 1.5"),
        (
            lambda X, S: deita.select(X, S, 3, score_names=["a", "b", "c"], complexity="a", similarity=0.0),
            r"similarity: got 0\.0; give a share in \(0, 1\]",
        ),
        (
            lambda X, _: distinct_random.select(X, 3, seed=0, similarity=1.5),
            r"similarity: got 1\.5; give a share in \(0, 1\]",
        ),
        (lambda X, _: distinct_random.select(X, 81, seed=0), "budget: got 81"),
        (lambda *_: longest.select([], 1), "n: got 0"),
        (lambda X, _: ifd.select(X, 1), "losses: has 6 columns; give two"),
        (lambda X, _: perplexity.select(X, 1, part="top"), "part: got 'top'"),
    ],
)
def test_bad_arguments_are_named(call, message):
    X, scores = pool()
    with pytest.raises(ValueError, match=message):
        call(X, scores)
