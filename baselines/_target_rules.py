"""Selection towards target rows by one rule, whatever represents the rows: LoRA gradients, hidden states, embeddings.

Symbols: the representation has one or more parts c (LESS: one per checkpoint; embeddings: one) with weights w_c that sum
to 1, pool rows T_c (n, d) and target rows G_c (t, d). The target rows form k subtasks; a_cj is the mean of G_c over the
rows of subtask j. The similarity of pool row i and subtask j is A_ij = sum_c w_c <T_c[i], a_cj>.

Rules (`aggregate`):

- `mean`: the mean of A_i over subtasks, so every subtask counts the same however many rows it has;
- `max`: the largest A_ij (LESS, arXiv 2402.04333, section 4);
- `round_robin`: subtasks take turns, each takes its most similar row that is left (RDS+, arXiv 2503.01807);
- `gip`: matching pursuit with the a_j as queries, so that a row counts for what earlier picks do not cover.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from baselines._checks import FloatArray, IntArray, check_count, check_pool, check_seed, ranking, to_float64
from selection.checks import Problems, check_matrix
from selection.types import Selection

Aggregate = Literal["mean", "max", "round_robin", "gip"]
AGGREGATES = ("mean", "max", "round_robin", "gip")
SUBTASKS = ONE, ROWS, CLUSTERS = (
    "one",
    "rows",
    "clusters",
)  # values of `subtasks` that are not names of a column

_BLOCK = 4096  # rows checked and multiplied at a time
_GIP_WIDTH = 2048  # columns for `gip`: wider representations (gradients) are sketched, as its work grows with d squared


def check_options(
    problems: Problems, *, subtasks: Any, aggregate: Any, clusters: Any, seed: Any, labels: Any, t: int
) -> None:
    """Note a problem for each bad option of a selector towards a target.

    Args:
        problems: where problems are noted.
        subtasks: `one`, `rows`, `clusters`, or the name of the column that `labels` holds.
        aggregate: the rule.
        clusters: number of clusters.
        seed: of the clustering.
        labels: the value of each target row in the column `subtasks`, or None.
        t: number of target rows.
    """
    if aggregate not in AGGREGATES:
        problems.add("aggregate", f"got {aggregate!r}; choose from {', '.join(AGGREGATES)}")
    check_count(problems, "clusters", clusters)
    check_seed(problems, seed)
    if subtasks in SUBTASKS:
        return
    if labels is None:
        problems.add(
            "subtasks", f"got {subtasks!r} without labels; give one per target row, or one, rows or clusters"
        )
    elif len(labels) != t:
        problems.add("subtasks", f"has {len(labels)} labels for {t} target rows; give one per row")


def subtask_numbers(
    targets: Sequence[Any],
    weights: FloatArray,
    subtasks: str,
    *,
    clusters: int,
    seed: int,
    labels: Any = None,
) -> IntArray:
    """Return the subtask 0..k-1 of each target row (t,), numbered in order of first appearance.

    Args:
        targets: parts (t, d).
        weights: one per part.
        subtasks: `one`, `rows`, `clusters`, or the name of the column that `labels` holds.
        clusters: number of clusters, at most t, of the joined parts by k-means.
        seed: of k-means.
        labels: (t,) values of a column.

    Example:
        >>> subtask_numbers([np.eye(3)], np.ones(1), "topic", clusters=1, seed=0, labels=["b", "a", "b"]).tolist()
        [0, 1, 0]
    """
    t = len(targets[0])
    if subtasks == ONE:
        return np.zeros(t, dtype=np.int64)
    if subtasks == ROWS:
        return np.arange(t)
    if subtasks == CLUSTERS:
        from sklearn.cluster import KMeans

        model = KMeans(n_clusters=min(clusters, t), n_init=4, random_state=seed % 2**32)
        labels = model.fit_predict(joined(targets, weights))
    _, first, numbers = np.unique(np.asarray(labels), return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[numbers.reshape(-1)]


def joined(parts: Sequence[Any], weights: FloatArray) -> FloatArray:
    """Return the parts side by side, each times the root of its weight, so that inner products are those of A."""
    return np.hstack([np.sqrt(w) * to_float64(part) for w, part in zip(weights, parts, strict=True)])


def narrowed(parts: Sequence[Any], weights: FloatArray) -> FloatArray:
    """Return the joined parts (n, d) or, if wider than `_GIP_WIDTH`, a count sketch of them with that many columns.

    Each column is added, with a random sign, to a random column of the result, so inner products are unbiased (Charikar
    et al. 2002). The same parts get the same signs, so pool and target fit together.
    """
    from scipy.sparse import csr_matrix

    if sum(part.shape[1] for part in parts) <= _GIP_WIDTH:
        return joined(parts, weights)
    rng, found = np.random.default_rng(0), np.zeros((len(parts[0]), _GIP_WIDTH))
    for w, part in zip(weights, parts, strict=True):
        d = part.shape[1]
        signs, columns = rng.choice([-1.0, 1.0], size=d), rng.integers(_GIP_WIDTH, size=d)
        sketch = csr_matrix((np.sqrt(w) * signs, (np.arange(d), columns)), shape=(d, _GIP_WIDTH))
        for start in range(0, len(part), _BLOCK // 8):
            found[start : start + _BLOCK // 8] += to_float64(part[start : start + _BLOCK // 8]) @ sketch
    return found


def aims(part: Any, numbers: IntArray) -> FloatArray:
    """Return the mean (k, d) of the target rows of each subtask."""
    mean_of = np.eye(numbers.max() + 1)[numbers]  # (t, k)
    mean_of /= mean_of.sum(axis=0)
    return mean_of.T @ finite("target_features", part, 0)


def similarities(
    trains: Sequence[Any], targets: Sequence[Any], weights: FloatArray, numbers: IntArray
) -> FloatArray:
    """Return A (n, k), reading the pool by blocks. Raises ValueError for the first row with NaN or inf."""
    found = np.zeros((len(trains[0]), int(numbers.max()) + 1))
    for w, train, target in zip(weights, trains, targets, strict=True):
        aim = aims(target, numbers)
        for start in range(0, len(train), _BLOCK):
            block = finite("train_features", train[start : start + _BLOCK], start)
            found[start : start + _BLOCK] += w * (block @ aim.T)
    return found


def select_towards(
    trains: Sequence[Any],
    targets: Sequence[Any],
    weights: FloatArray,
    budget: int | float,
    *,
    numbers: IntArray,
    aggregate: Aggregate,
) -> Selection:
    """Rank the pool by a rule; nested in budget, ties to the lowest index.

    Args:
        trains: parts (n, d) of the pool; memory-mapped arrays are read by blocks; `gip` keeps
            them side by side, or a sketch of them (`narrowed`).
        targets: parts (t, d) of the target rows.
        weights: one per part, sum 1.
        budget: count or share of n.
        numbers: (t,) subtask of each target row.
        aggregate: the rule.

    Returns:
        Selection; gains are A of the pick (`mean`, `max`: aggregated; `round_robin`: for the subtask whose turn it was),
        for `gip` those of matching pursuit. `objective["mean_similarity"]` is the mean gain, except for `gip`.
    """
    if aggregate == "gip":
        from selection.select import gip_select

        queries = narrowed([aims(part, numbers) for part in targets], weights).T
        return gip_select(narrowed(trains, weights), budget, queries=queries)
    problems = Problems()
    rows, count = check_pool(problems, len(trains[0]), budget, None)
    problems.raise_if_any()
    return rank_similar(
        similarities(trains, targets, weights, numbers), count, aggregate=aggregate, rows=rows
    )


def rank_similar(similar: FloatArray, count: int, *, aggregate: Aggregate, rows: IntArray) -> Selection:
    """Pick `count` of `rows` by their similarities (n, k); the rules `mean`, `max` and `round_robin`."""
    if aggregate == "round_robin":
        picks, gains = _in_turn(similar[rows], count)
    else:
        one = similar[rows].mean(axis=1) if aggregate == "mean" else similar[rows].max(axis=1)
        picks = np.argsort(-one, kind="stable")[:count]
        gains = one[picks]
    return ranking(rows[picks], gains, objective={"mean_similarity": float(gains.mean())})


def _in_turn(similar: FloatArray, count: int) -> tuple[IntArray, FloatArray]:
    """Return (picks, gains): the columns of `similar` take turns at their largest row that is left."""
    n, k = similar.shape
    best = [_largest(similar[:, column], min(count, n)) for column in range(k)]
    place, taken = np.zeros(k, dtype=np.int64), np.zeros(n, dtype=bool)
    picks = np.empty(count, dtype=np.int64)
    gains = np.empty(count)
    for turn in range(count):
        column = turn % k
        while taken[
            best[column][place[column]]
        ]:  # at most count - 1 rows are taken, so one of the best is left
            place[column] += 1
        picks[turn] = best[column][place[column]]
        taken[picks[turn]] = True
        gains[turn] = similar[picks[turn], column]
    return picks, gains


def _largest(values: FloatArray, count: int) -> IntArray:
    """Return the positions of the `count` largest values in order, ties to the lowest; sorts no more than needed."""
    if count == len(values):
        return np.argsort(-values, kind="stable")
    least = np.partition(values, len(values) - count)[len(values) - count]
    above = np.flatnonzero(values >= least)  # more than count if values tie with the least
    return above[np.argsort(-values[above], kind="stable")][:count]


def check_parts(problems: Problems, trains: Sequence[Any], targets: Sequence[Any]) -> None:
    """Note a problem unless all are matrices with the same rows in every part and the same columns everywhere."""
    width = None
    for argument, arrays in (("train_features", trains), ("target_features", targets)):
        shapes = [array.shape for array in arrays if check_matrix(problems, argument, array)]
        if len(shapes) < len(arrays) or not shapes:
            continue
        width = width or shapes[0][1]
        if len(set(shapes)) > 1 or shapes[0][1] != width:
            problems.add(
                argument,
                f"has shapes {shapes}; give every checkpoint the same rows, and {width} columns everywhere",
            )


def finite(argument: str, block: Any, start: int) -> FloatArray:
    """Return the block (array or tensor) in float64; ValueError names the first row with NaN or inf."""
    values = to_float64(block)
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise ValueError(f"{argument}: row {start + int(bad.argmax())} holds NaN or inf; make it again")
    return values
