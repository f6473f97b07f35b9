"""k-means representatives: as many clusters as picks, and from each the row nearest to its centre.

Not nested in budget: another number of clusters is another clustering.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from baselines._checks import as_float64, check_count, check_pool, ranking
from selection.checks import Problems
from selection.types import Count, Seed, Selection, per_budget


@per_budget
def select(
    features: Any, budget: int | float, *, seed: Seed, max_iter: Count = 100, candidates: Any = None
) -> Selection:
    """Pick the row nearest to the centre of each of `budget` clusters, largest cluster first.

    Args:
        features: (n, d) embeddings, array or tensor, not rescaled; rows outside `candidates` are not read.
        budget: count or share of n (see `baselines._checks`).
        seed: seed of the k-means++ initialisation.
        max_iter: maximum number of Lloyd iterations.
        candidates: optional boolean mask (n,).

    Returns:
        Selection; gains are cluster sizes. If the pool has fewer distinct rows than the budget, some clusters
        are empty, and the lowest rows not picked yet take their place with gain 0. `objective["inertia"]` is
        the sum of squared distances to the centres.

    Raises:
        ValueError: naming every bad argument.

    Example:
        >>> import numpy as np
        >>> features = np.array([[0.0], [0.1], [0.2], [5.0]])
        >>> select(features, 2, seed=0).indices.tolist()
        [1, 3]
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    problems = Problems()
    matrix = as_float64(problems, "features", features, candidates)
    rows, count = check_pool(problems, len(matrix), budget, candidates, seed=seed)
    check_count(problems, "max_iter", max_iter)
    problems.raise_if_any()
    X = matrix[rows]
    model = KMeans(n_clusters=count, n_init=1, max_iter=max_iter, random_state=seed % 2**32)
    with warnings.catch_warnings():  # fewer distinct rows than clusters: handled below
        warnings.simplefilter("ignore", ConvergenceWarning)
        # `labels_` and `inertia_` may be of centres that were moved afterwards, to fill empty clusters.
        labels = model.fit(X).predict(X)
    distance = ((X - model.cluster_centers_[labels]) ** 2).sum(axis=1)
    order = np.lexsort((np.arange(len(X)), distance, labels))  # by cluster, then distance, then row
    filled, start = np.unique(labels[order], return_index=True)
    medoids, sizes = order[start], np.bincount(labels, minlength=count)[filled]
    by_size = np.lexsort((medoids, -sizes))
    rest = np.setdiff1d(np.arange(len(X)), medoids)[: count - len(medoids)]
    picks = np.concatenate([medoids[by_size], rest])
    gains = np.concatenate([sizes[by_size], np.zeros(len(rest))])
    return ranking(rows[picks], gains, objective={"inertia": float(distance.sum())})
