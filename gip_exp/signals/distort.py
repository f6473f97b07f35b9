"""Distorted embeddings and scores: what a selection depends on, and what harms it.

Embeddings, rows f_i of any length
    rotation     F times a random orthogonal matrix: no inner product changes;
    projection   F times a random Gaussian matrix with `level` of the columns: inner products keep their expectation;
    noise        each row moves by `level` of its length in a random direction;
    adversarial  each row moves by `level` of its length along one direction, that of the rows with good scores: towards
                 it if its own score is above the mean, away from it otherwise. Good rows become near-copies, of which the
                 first pick explains all; bad ones seem to be what no pick explains.

Scores, `level` standard deviations of each column, clipped to its range
    noise        independent of everything;
    length       in favour of long completions;
    subject      in favour of one direction of the embeddings.
"""

from collections.abc import Callable

import numpy as np


def distorted(
    features: np.ndarray, kind: str, level: float, *, seed: int, scores: np.ndarray | None = None
) -> np.ndarray:
    """Return distorted embeddings, float32.

    Args:
        features: (n, d).
        kind: `none`, or one of the above.
        level: Its strength.
        seed: Of what is drawn.
        scores: (n, k), read by `adversarial` alone.
    """
    generator = np.random.default_rng(seed)
    n, d = features.shape
    if kind == "none":
        return features
    if kind == "rotation":
        turn, upper = np.linalg.qr(generator.standard_normal((d, d)))
        # With these signs uniform over rotations and reflections.
        return np.asarray(features @ (turn * np.sign(np.diag(upper))), dtype=np.float32)
    if kind == "projection":
        kept = max(1, round(level * d))
        return np.asarray(features @ (generator.standard_normal((d, kept)) / np.sqrt(kept)), dtype=np.float32)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    if kind == "noise":
        return np.asarray(
            features + level * lengths * _unit(generator.standard_normal((n, d))), dtype=np.float32
        )
    assert kind == "adversarial"
    assert scores is not None
    merit = np.mean([_unit_deviation(column) for column in scores.T], axis=0)[:, None]
    good = _unit((merit * _unit(features)).sum(axis=0, keepdims=True))
    return np.asarray(features + level * lengths * np.sign(merit) * good, dtype=np.float32)


def faulty(
    scores: np.ndarray, fault: str, level: float, *, features: np.ndarray, lengths: np.ndarray, seed: int
) -> np.ndarray:
    """Return scores with a fault added, clipped to each column's range.

    Args:
        scores: (n, k).
        fault: `noise`, `length` or `subject`.
        level: Standard deviations of each column.
        features: (n, d), whose direction `subject` favours.
        lengths: (n,) characters of the completions.
        seed: Of what is drawn.
    """
    generator = np.random.default_rng(seed)
    makers: dict[str, Callable[[], np.ndarray]] = {
        "noise": lambda: generator.standard_normal(scores.shape),
        "length": lambda: _unit_deviation(lengths)[:, None],
        "subject": lambda: _unit_deviation(
            _unit(features) @ np.float32(generator.standard_normal((features.shape[1], 1)))
        ),
    }
    moved = scores + level * scores.std(axis=0) * makers[fault]()
    return np.clip(moved, scores.min(axis=0), scores.max(axis=0))


def _unit(rows: np.ndarray) -> np.ndarray:
    """Return rows of unit length; a zero row stays zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, np.finfo(np.float32).tiny))


def _unit_deviation(values: np.ndarray) -> np.ndarray:
    """Return values with mean 0 and standard deviation 1; equal values give 0."""
    return (values - values.mean()) / max(float(values.std()), float(np.finfo(np.float64).tiny))
