"""Measures of a subset and of the agreement of two subsets. Arrays in, numbers out.

Symbols: n rows in the pool, b picks, u_i the embedding of row i scaled to unit length (not centred).
"""

import numpy as np

BLOCK = 2048


def unit(features: np.ndarray) -> np.ndarray:
    """Return (n, d) float32 rows of unit length; a zero row stays zero."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(length, np.finfo(np.float32).tiny), dtype=np.float32)


def quality(scores: np.ndarray, picks: np.ndarray) -> float:
    """Return the mean attribute of the subset: over picks (b,) and the columns of scores (n, k)."""
    return float(scores[picks].mean())


def coverage(units: np.ndarray, picks: np.ndarray) -> float:
    """Return the mean over the pool of the best cosine to the subset; 1 if every row has an equal in the subset."""
    chosen = units[picks].T
    total = sum(
        float((units[start : start + BLOCK] @ chosen).max(axis=1).sum(dtype=np.float64))
        for start in range(0, len(units), BLOCK)
    )
    return total / len(units)


def mean_cosine(units: np.ndarray) -> float:
    """Return the mean cosine over pairs of different rows: how strong the common direction of the embeddings is."""
    n = len(units)
    total = units.sum(axis=0, dtype=np.float64)
    own = float(np.square(units, dtype=np.float64).sum())
    return (float(total @ total) - own) / (n * (n - 1))


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two subsets given by row numbers."""
    shared = len(np.intersect1d(one, other))
    return shared / (len(one) + len(other) - shared)


def chance(n: int, picks: int) -> float:
    """Return the Jaccard index of two random subsets with the expected overlap, picks^2 / n."""
    return picks / (2 * n - picks)


def topics(features: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return (n,) topic numbers by k-means on the centred, normalised embeddings."""
    from sklearn.cluster import KMeans

    centred = unit(unit(features) - unit(features).mean(axis=0))
    return KMeans(count, n_init=1, random_state=seed).fit(centred).labels_


def topic_share(labels: np.ndarray, picks: np.ndarray) -> float:
    """Return the share of the pool's topics with at least one pick."""
    return len(np.unique(labels[picks])) / len(np.unique(labels))


def topic_entropy(labels: np.ndarray, picks: np.ndarray) -> float:
    """Return the entropy of the picks' topics divided by log(topics), in [0, 1]; 1 means evenly spread."""
    known = len(np.unique(labels))
    if known == 1:
        return 1.0
    share = np.bincount(labels[picks]) / len(picks)
    share = share[share > 0]
    return float(-(share * np.log(share)).sum() / np.log(known))
