"""Selection towards target rows: the rules against their definitions, subtasks, representations, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from baselines import target_similarity
from baselines._target_rules import narrowed, select_towards, similarities, subtask_numbers
from baselines.less import TARGET, TRAIN, select_by_gradients
from selection import gip_select


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def pool_and_target(n=60, t=9, d=12, seed=0):
    rng = np.random.default_rng(seed)
    return unit(rng.normal(size=(n, d))), unit(rng.normal(size=(t, d)))


LABELS = ["b", "a", "b", "c", "a", "b", "b", "c", "b"]


def by_definition(pool, target, labels):
    """Similarity of each row to each subtask (n, k), subtasks in order of first appearance."""
    tasks = list(dict.fromkeys(labels))
    return np.stack(
        [(pool @ target[[label == task for label in labels]].T).mean(axis=1) for task in tasks], axis=1
    )


@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_mean_and_max_rank_by_the_aggregated_similarity(aggregate):
    pool, target = pool_and_target()
    similar = by_definition(pool, target, LABELS)
    one = similar.mean(axis=1) if aggregate == "mean" else similar.max(axis=1)
    picked = target_similarity.select(
        pool * 3, target * 2, 20, subtasks="skill", target_labels=LABELS, aggregate=aggregate
    )
    assert picked.indices.tolist() == np.argsort(-one, kind="stable")[:20].tolist()
    np.testing.assert_allclose(picked.gains, one[picked.indices])


@pytest.mark.parametrize("budget", [1, 7, 60])
def test_in_a_round_robin_each_subtask_takes_its_best_row_left(budget):
    pool, target = pool_and_target()
    pool[11] = pool[4]  # ties go to the lowest index
    similar = by_definition(pool, target, LABELS)
    left, wanted = list(range(60)), []
    for turn in range(budget):
        best = max(left, key=lambda row: (round(similar[row, turn % 3], 12), -row))
        left.remove(best)
        wanted.append(best)
    picked = target_similarity.select(pool, target, budget, subtasks="skill", target_labels=LABELS)
    assert picked.indices.tolist() == wanted


def test_many_tied_rows_are_taken_in_order():
    picked = target_similarity.select(np.ones((50, 2)), np.ones((3, 2)), 12)
    assert picked.indices.tolist() == list(range(12))


def test_gip_takes_the_mean_of_each_subtask_as_a_query():
    pool, target = pool_and_target()
    queries = np.stack([target[[x == task for x in LABELS]].mean(axis=0) for task in "bac"], axis=1)
    picked = target_similarity.select(
        pool, target, 15, subtasks="skill", target_labels=LABELS, aggregate="gip"
    )
    assert picked.indices.tolist() == gip_select(pool, 15, queries=queries).indices.tolist()


def test_every_target_row_is_a_subtask_by_default_and_candidates_alone_are_read():
    pool, target = pool_and_target()
    mask = np.arange(60) % 3 > 0
    holed = np.where(mask[:, None], pool, np.nan)
    picked = target_similarity.select(holed, target, 9, candidates=mask)
    kept = target_similarity.select(pool[mask], target, 9)
    assert picked.indices.tolist() == np.flatnonzero(mask)[kept.indices].tolist()
    first = (pool[mask] @ target[0]).argmax()
    assert kept.indices[0] == first


def test_clusters_part_the_target_rows_by_direction():
    rng = np.random.default_rng(1)
    target = np.repeat(np.eye(3), [4, 2, 3], axis=0) + 0.01 * rng.normal(size=(9, 3))
    numbers = subtask_numbers([target], np.ones(1), "clusters", clusters=3, seed=0)
    assert numbers.tolist() == [0] * 4 + [1] * 2 + [2] * 3
    assert subtask_numbers([target], np.ones(1), "one", clusters=3, seed=0).tolist() == [0] * 9


def test_checkpoints_are_weighted_and_gradients_obey_the_same_rules(tmp_path):
    parts = [pool_and_target(seed=seed) for seed in (0, 1)]
    folders = []
    for number, (pool, target) in enumerate(parts):
        folders.append(tmp_path / str(number))
        for name, rows in ((TRAIN, pool), (TARGET, target)):
            folder = folders[-1] / name
            folder.mkdir(parents=True)
            np.save(folder / "shard_00000.npy", rows.astype(np.float32))
            spec = {"rows": len(rows), "dim": rows.shape[1], "shard_size": 256}
            (folder / "features.json").write_text(json.dumps(spec))
    weights = np.array([0.75, 0.25])
    expected = sum(w * by_definition(*part, LABELS) for w, part in zip(weights, parts, strict=True))
    trains, targets = zip(*parts, strict=True)
    numbers = subtask_numbers(targets, weights, "skill", clusters=1, seed=0, labels=LABELS)
    np.testing.assert_allclose(similarities(trains, targets, weights, numbers), expected)
    for aggregate in ("mean", "max", "round_robin", "gip"):
        towards = select_towards(trains, targets, weights, 20, numbers=numbers, aggregate=aggregate)
        less = select_by_gradients(
            folders, [3, 1], 20, subtasks="skill", target_labels=LABELS, aggregate=aggregate
        )
        assert less.indices.tolist() == towards.indices.tolist()


def test_wide_representations_are_sketched_without_bias():
    rng = np.random.default_rng(0)
    parts = [unit(rng.normal(size=(40, 5000))) for _ in range(2)]
    weights = np.array([0.5, 0.5])
    sketch = narrowed(parts, weights)
    assert sketch.shape == (40, 2048)
    exact = sum(w * part @ part.T for w, part in zip(weights, parts, strict=True))
    error = sketch @ sketch.T - exact
    assert np.abs(error).max() < 0.15
    assert abs(error.mean()) < 0.005


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"aggregate": "median"}, "aggregate: got 'median'; choose from mean, max"),
        ({"subtasks": "skill"}, "subtasks: got 'skill' without labels"),
        ({"subtasks": "skill", "target_labels": ["a"]}, "subtasks: has 1 labels for 9 target rows"),
        ({"clusters": 0}, "clusters: got 0"),
        ({"target_features": np.ones((9, 3))}, "target_features: has 3 columns for 12"),
        ({"target_features": np.zeros((9, 12))}, "row 0 is zero"),
        ({"budget": 61}, "budget: got 61"),
    ],
)
def test_bad_arguments_are_named(change, message):
    pool, target = pool_and_target()
    arguments = {"features": pool, "target_features": target, "budget": 3, **change}
    with pytest.raises(ValueError, match=message):
        target_similarity.select(**arguments)
