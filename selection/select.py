"""`gip_select`: the one public entry; checks, prepares, runs a greedy kernel, describes the result."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from selection.checks import Problems, check_candidates, check_query_arguments, resolve_budget
from selection.objective import describe, query_gram
from selection.plain import Problem, select_plain
from selection.prepare import Pool, prepare_pool, prepare_queries, prepare_scores, scan_features
from selection.types import Selection

METHODS = ("mp", "omp", "logdet")


def gip_select(
    features: Any,
    budget: int | float,
    *,
    scores: Any = None,
    queries: Any = None,
    candidates: Any = None,
    method: str = "mp",
    ridge: float = 1.0,
    center: bool = True,
    normalize: bool = True,
    score_scaling: str = "rms",
    tol: float = 1e-6,
    noise: float = 1e-6,
    device: str | torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> Selection:
    """Greedily choose the rows of a pool whose span covers the most of a query.

    features: (n, d) embeddings; numpy array, memory-mapped array or tensor of any real dtype. Never changed.
    budget: an int is a count from 1 to n, a float in (0, 1] a share of n (see `resolve_budget`).
    scores: (n, k), one column per signal, larger = better: the query is what correlates with row i as scores[i].
    queries: (d, k) embeddings as columns, for instance of target-task examples. At most one of the two;
        with neither the pool is its own query (self-compression).
    candidates: (n,) bool, rows that may be picked (default all). The others still count for the mean row and in
        self-compression; their scores are ignored and may be NaN.
    method: "mp" gain |c|^2 / K_ii, correlations updated by the picked row alone; "omp" gain is the exact drop of
        the trace objective; "logdet" gain is twice the exact gain in information (nats). Ties: the lowest row.
    ridge: lam >= 0, the squared length of each row's private direction: 0 asks for diversity, large for quality.
    center, normalize: subtract the pool's mean row; then scale rows to unit length.
    score_scaling: "rms" (divide a column by its root mean square), "minmax" (map to [0, 1]) or "none".
    tol: a new round (nothing covered, picked rows stay picked) starts when the best gain falls below tol times the
        round's first.
    noise: variance added to the queries in log-determinants, > 0.
    device: where to compute; default: where `features` is (CPU for arrays).
    dtype: torch.float32 or torch.float64, of the prepared pool.

    Returns a Selection; `objective` holds "trace" (still uncovered), "projection_energy" (covered) and, for
    self-compression and up to 64 queries, "mutual_information" (nats); it is empty for scores with ridge 0.
    Raises ValueError that names every bad argument, its value and what is allowed.
    """
    problems = Problems()
    _check_options(problems, method, ridge, tol, noise, dtype)
    needs_ridge = method in ("omp", "logdet")
    shaped = check_query_arguments(
        problems, features, scores, queries, ridge, score_scaling, needs_ridge=needs_ridge
    )
    place = _resolve_device(problems, device, features)
    mask, count = _check_rows(problems, features, candidates, budget)
    if problems.messages and (not shaped or dtype not in (torch.float32, torch.float64) or place is None):
        problems.raise_if_any()
    assert place is not None
    mean = scan_features(problems, features, dtype, place)
    centre = mean if center else None
    s = prepare_scores(problems, scores, mask, score_scaling, place) if scores is not None else None
    q = (
        prepare_queries(problems, queries, centre, normalize=normalize, device=place)
        if queries is not None
        else None
    )
    problems.raise_if_any()
    over = None if q is not None or (s is not None and ridge == 0) else "all" if s is None else "kept"
    pool = prepare_pool(
        features, centre, normalize=normalize, mask=mask, gram_over=over, dtype=dtype, device=place
    )
    return _run(pool, count, s, q, method, float(ridge), float(tol), float(noise))


def _run(
    pool: Pool,
    count: int,
    scores: torch.Tensor | None,
    queries: torch.Tensor | None,
    method: str,
    ridge: float,
    tol: float,
    noise: float,
) -> Selection:
    """Run the kernel on prepared arrays and put the result into the caller's row numbers."""
    start = scores
    if queries is not None:
        start = (pool.rows @ queries.to(pool.rows.dtype)).to(torch.float64)
    total = query_gram(pool, ridge, scores, queries)
    gram = pool.gram if start is None else None
    problem = Problem(pool.rows, pool.square, start, gram, total, method, ridge, tol, noise)
    picks = select_plain(problem, count)
    order = np.array(picks.order, dtype=np.int64)
    objective = describe(
        pool, torch.from_numpy(order).to(pool.rows.device), ridge, noise, scores, queries, total
    )
    return Selection(pool.index[order], np.array(picks.gains), tuple(picks.rounds), objective)


def _check_options(problems: Problems, method: Any, ridge: Any, tol: Any, noise: Any, dtype: Any) -> None:
    problems.option("method", method, METHODS)
    problems.number("ridge", ridge)
    problems.number("tol", tol)
    problems.number("noise", noise, above=True)
    if dtype not in (torch.float32, torch.float64):
        problems.add("dtype", f"got {dtype!r}; give torch.float32 or torch.float64")


def _resolve_device(problems: Problems, device: Any, features: Any) -> torch.device | None:
    if device is None:
        return features.device if isinstance(features, torch.Tensor) else torch.device("cpu")
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, TypeError, AssertionError) as error:
        problems.add("device", f"got {device!r}, which torch cannot use here ({str(error).splitlines()[0]})")
        return None
    return place


def _check_rows(
    problems: Problems, features: Any, candidates: Any, budget: Any
) -> tuple[np.ndarray | None, int]:
    """The mask of rows that may be picked and the number of picks; (None, 0) where features have no rows."""
    shape = getattr(features, "shape", ())
    if len(shape) != 2 or shape[0] == 0:
        return None, 0
    mask = check_candidates(problems, candidates, shape[0])
    try:
        count = resolve_budget(budget, shape[0])
    except ValueError as error:
        problems.messages.append(str(error))
        return mask, 0
    if mask is not None and count > mask.sum():
        problems.add(
            "budget",
            f"asks for {count} picks, but only {int(mask.sum())} of {shape[0]} rows are candidates; "
            "lower the budget or admit more rows",
        )
    return mask, count
