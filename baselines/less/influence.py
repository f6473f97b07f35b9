"""Influence of training examples on a target, and the selection by influence.

Symbols: for checkpoint c, training features T_c (n, K) and target features G_c (t, K), unit rows, and
weights w_c that sum to 1. The influence of row i on a subtask is the mean over its target rows j of
sum_c w_c <T_c[i], G_c[j]>; the score of row i is the largest over subtasks (LESS, Inf_Adam and section 4).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from baselines._checks import FloatArray, check_pool, ranking
from baselines._target_rules import (
    Aggregate,
    check_options,
    check_parts,
    select_towards,
    similarities,
    subtask_numbers,
)
from baselines.less.features import load_features
from selection.checks import Problems, resolve_budget
from selection.types import Count, Seed, Selection

TRAIN, TARGET = "train", "target"  # folders of features, within that of a checkpoint


def influence(
    train_features: Sequence[Any],
    target_features: Sequence[Any],
    weights: Any,
    *,
    subtasks: Sequence[Any] | None = None,
) -> FloatArray:
    """Compute the influence of every training example on the target.

    Args:
        train_features: one array or tensor (n, K) per checkpoint, same rows in each; memory-mapped arrays are
            read by blocks.
        target_features: one array or tensor (t, K) per checkpoint.
        weights: one number >= 0 per checkpoint (see `learning_rate_weights`), scaled to sum to 1.
        subtasks: label of each target row (t,); None for a single subtask (GSM8K).

    Returns:
        (n,) float64; larger is more useful for the target.

    Raises:
        ValueError: naming every bad argument: no checkpoint, shapes that do not match, NaN or inf, an empty
            target.

    Example:
        >>> train, target = np.eye(2), np.array([[0.6, 0.8]])
        >>> influence([train], [target], [1.0]).tolist()
        [0.6, 0.8]
    """
    problems = Problems()
    scale = np.asarray(weights, dtype=np.float64).reshape(-1)
    if not len(scale) or not np.isfinite(scale).all() or (scale < 0).any() or not scale.sum() > 0:
        problems.add(
            "weights", f"got {weights!r}; give finite numbers >= 0 with a positive sum, one a checkpoint"
        )
    if not len(scale) == len(train_features) == len(target_features):
        problems.add(
            "weights",
            f"{len(scale)} of them, {len(train_features)} train_features and {len(target_features)} "
            "target_features; give one of each for every checkpoint",
        )
    check_parts(problems, train_features, target_features)
    problems.raise_if_any()
    t = len(target_features[0])
    if subtasks is not None and len(subtasks) != t:
        raise ValueError(f"subtasks: has {len(subtasks)} labels for {t} target rows; give one per row")
    labels = np.zeros(t, dtype=np.int64) if subtasks is None else np.unique(subtasks, return_inverse=True)[1]
    return similarities(train_features, target_features, scale / scale.sum(), labels.reshape(-1)).max(axis=1)


def select(influence_scores: Any, budget: int | float, *, candidates: Any = None) -> Selection:
    """Pick the largest influence scores (n,); nested in budget, ties to the lowest index.

    Args:
        influence_scores: (n,) from `influence`; rows outside `candidates` may hold NaN.
        budget: count or share of n (see `baselines._checks`).
        candidates: optional boolean mask (n,).

    Returns:
        Selection; gains are the influence scores of the picks, `objective["mean_influence"]` their mean.

    Raises:
        ValueError: naming every bad argument.

    Example:
        >>> select(np.array([0.1, 0.5, 0.3]), 2).indices.tolist()
        [1, 2]
    """
    problems = Problems()
    values = np.asarray(influence_scores, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"influence_scores: has shape {values.shape}; give one score a pool row, shape (n,)")
    rows, count = check_pool(problems, len(values), budget, candidates)
    bad = rows[~np.isfinite(values[rows])]
    if len(bad):
        problems.add(
            "influence_scores", f"row {bad[0]} holds NaN or inf; fix it or mark it False in candidates"
        )
    problems.raise_if_any()
    picks = rows[np.argsort(-values[rows], kind="stable")][:count]
    return ranking(picks, values[picks], objective={"mean_influence": float(values[picks].mean())})


def select_by_gradients(
    gradients: Sequence[str | Path],
    checkpoint_weights: Sequence[float],
    budget: int | float,
    *,
    subtasks: str = "one",
    aggregate: Aggregate = "max",
    clusters: Count = 8,
    subtask_seed: Seed = 0,
    target_labels: Sequence[Any] | None = None,
    candidates: Any = None,
) -> Selection:
    """Pick by influence on the subtasks of the target, from the features that `gradient_features` wrote.

    Args:
        gradients: a folder per checkpoint with the features of the pool (`train`; where there are `candidates`, of these
            alone) and of the target (`target`).
        checkpoint_weights: one per folder, from `learning_rate_weights`.
        budget: count or share of n (see `baselines._checks`).
        subtasks: what a subtask of the target is: `one` (all rows together), `rows` (each row), `clusters` (of the
            target gradients) or the name of a column, whose values are `target_labels`.
        aggregate: `mean`, `max` (the authors' rule), `round_robin` or `gip` over subtasks (see `_target_rules`).
        clusters: number of clusters.
        subtask_seed: seed of the clustering.
        target_labels: one value per target row.
        candidates: optional boolean mask (n,).

    Returns:
        Selection; gains are influences (see `_target_rules.select_towards`).

    Raises:
        ValueError: naming every bad argument, or features that cannot be read.

    Example:
        >>> import tempfile
        >>> def write(folder, rows):  # as `gradient_features` does
        ...     folder.mkdir()
        ...     spec = {"rows": len(rows), "dim": rows.shape[1], "shard_size": 256}
        ...     _ = (folder / "features.json").write_text(json.dumps(spec))
        ...     np.save(folder / "shard_00000.npy", rows)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(Path(folder) / TRAIN, np.eye(2, dtype=np.float32))
        ...     write(Path(folder) / TARGET, np.array([[0.6, 0.8]], dtype=np.float32))
        ...     select_by_gradients([folder], [1.0], 1).indices.tolist()
        [1]
    """
    train, target = ([load_features(Path(folder) / part) for folder in gradients] for part in (TRAIN, TARGET))
    problems = Problems()
    check_parts(problems, train, target)
    check_options(
        problems,
        subtasks=subtasks,
        aggregate=aggregate,
        clusters=clusters,
        seed=subtask_seed,
        labels=target_labels,
        t=len(target[0]),
    )
    problems.raise_if_any()
    mask = np.ones(len(train[0]), dtype=bool) if candidates is None else np.asarray(candidates, dtype=bool)
    if mask.sum() != len(train[0]):
        raise ValueError(f"candidates: marks {mask.sum()} rows, the features are those of {len(train[0])}")
    check_pool(problems, len(mask), budget, candidates)
    problems.raise_if_any()
    weights = np.asarray(checkpoint_weights, dtype=np.float64)
    weights = weights / weights.sum()
    numbers = subtask_numbers(
        target, weights, subtasks, clusters=clusters, seed=subtask_seed, labels=target_labels
    )
    count = resolve_budget(budget, len(mask))
    found = select_towards(train, target, weights, count, numbers=numbers, aggregate=aggregate)
    return ranking(
        np.flatnonzero(mask)[found.indices], found.gains, rounds=found.rounds, objective=found.objective
    )


def learning_rate_weights(folders: Sequence[str | Path]) -> FloatArray:
    """Compute the weight of each checkpoint: the mean learning rate of the steps that led to it.

    Args:
        folders: the checkpoint folders of the warm-up in order of training, as transformers or TRL writes
            them. `trainer_state.json` of the last one must log the learning rate of at least one step before
            each checkpoint (logging_steps=1 logs all of them).

    Returns:
        (c,) float64, scaled to sum to 1.

    Raises:
        ValueError: no such file, or a checkpoint without a logged learning rate.

    Example:
        >>> import tempfile
        >>> log = [{"step": 1, "learning_rate": 3e-4}, {"step": 2, "learning_rate": 1e-4}]
        >>> with tempfile.TemporaryDirectory() as root:
        ...     folders = [Path(root) / f"checkpoint-{step}" for step in (1, 2)]
        ...     for step, folder in enumerate(folders, 1):
        ...         folder.mkdir()
        ...         state = {"global_step": step, "log_history": log[:step]}
        ...         _ = (folder / "trainer_state.json").write_text(json.dumps(state))
        ...     learning_rate_weights(folders).round(2).tolist()
        [0.75, 0.25]
    """
    states = []
    for folder in folders:
        path = Path(folder) / "trainer_state.json"
        if not path.is_file():
            raise ValueError(
                f"folders: {folder} has no trainer_state.json; give a trainer's checkpoint folders"
            )
        states.append(json.loads(path.read_text(encoding="utf-8")))
    if not states:
        raise ValueError("folders: is empty; give at least one checkpoint")
    logged = [
        (entry["step"], entry["learning_rate"])
        for entry in states[-1]["log_history"]
        if "learning_rate" in entry
    ]
    means, previous = [], 0
    for folder, state in zip(folders, states, strict=True):
        rates = [rate for step, rate in logged if previous < step <= state["global_step"]]
        if not rates:
            raise ValueError(
                f"folders: no learning rate was logged between steps {previous} and {state['global_step']} "
                f"({folder}); train the warm-up with smaller logging_steps, folders in order of training"
            )
        means.append(float(np.mean(rates)))
        previous = state["global_step"]
    if not sum(means) > 0:
        raise ValueError("folders: every logged learning rate is 0, so no checkpoint has a weight")
    return np.array(means) / sum(means)
