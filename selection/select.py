"""`gip_select`: checks its arguments, prepares them, runs a greedy kernel and describes the result."""

from __future__ import annotations

import numbers
import os
from functools import partial
from typing import Any

import numpy as np
import torch

from selection.arrays import as_matrix
from selection.checks import Problems, check_candidates, check_query_arguments, resolve_budget
from selection.fast.choose import select
from selection.objective import describe, query_gram
from selection.prepare import Pool, Preparation, prepare
from selection.problem import Problem, Rule
from selection.types import Computed, Selection

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
    signed_scores: bool = False,
    tol: float = 1e-6,
    noise: float = 1e-6,
    device: str | torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    cache_bytes: int = 2**29,
    scratch: str | os.PathLike[str] | None = None,
) -> Selection:
    """Greedily select the rows of a pool whose span covers as much of a query as possible.

    features: (n, d) embeddings; array, memory-mapped array or tensor of any real dtype, which is never changed; or
        lists, a DataFrame, a column of `datasets`, which are copied.
    budget: an int is a count from 1 to n, a float in (0, 1] a share of n (see `resolve_budget`).
    scores: (n, k) or (n,), a column per signal, larger = better: the query that correlates with row i as scores[i].
    queries: (d, k) embeddings as columns, for instance of target-task examples. At most one of the two;
        with neither the pool is its own query (self-compression).
    candidates: (n,) bool, rows that may be picked (default all). The others still count for the mean row and
        in self-compression; their scores are ignored and may be NaN.
    method: "mp" gain |c|^2 / K_ii, correlations updated by the picked row alone; "omp" gain is the exact drop
        of the trace objective; "logdet" gain is twice the exact gain in information (nats). Gains within
        rounding of the largest are ties, and go to the lowest row.
    ridge: lam >= 0, the squared length of each row's private direction: 0 for diversity, large for quality.
    center, normalize: subtract the pool's mean row; then scale rows to unit length.
    score_scaling: "rms" (divide a column by its root mean square), "minmax" (map to [0, 1]) or "none".
    signed_scores: take negative scores as they are. By default they are an error, because gains are squares:
        the lowest scores would be picked first (see `selection.signals.shift_scores`).
    tol: a new round (nothing covered, picked rows stay picked) starts when the best gain falls below tol
        times the round's first.
    noise: variance added to the queries in log-determinants, > 0.
    device: where to compute; default: where `features` is (CPU for arrays).
    dtype: torch.float32 or torch.float64, of the prepared pool. On a CPU, mp decides in float64 either way;
        omp, logdet and self-compression carry about 1e-7 of rounding a pick in float32.
    cache_bytes: memory that may hold columns of the Gram matrix, beyond the prepared copy of the pool.
    scratch: folder for the prepared copy, which is then mapped into memory: for pools larger than memory, on a
        CPU. The picks are the same.

    Returns:
        Selection; `objective` holds "trace" (not covered yet), "projection_energy" (covered) and, for
        self-compression and up to 64 queries, "mutual_information" (nats). It is empty for scores with
        ridge 0. It is computed when first looked at, which can take longer than the picks (a product
        d x n x d); until then the Selection holds the prepared pool.

    Raises:
        ValueError: naming every bad argument, its value and what is allowed.

    Example:
        >>> features = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [-1.0, 0.2]])
        >>> quality = np.array([[4.0], [5.0], [3.0], [1.0]])
        >>> gip_select(features, 2, scores=quality).indices.tolist()
        [1, 2]
        >>> gip_select(features, 0.5).indices.tolist()
        [0, 3]
    """
    features, scores = as_matrix(features), as_matrix(scores, column=True)
    problems = Problems()
    check_options(problems, method=method, ridge=ridge, tol=tol, noise=noise, dtype=dtype)
    problems.number("cache_bytes", cache_bytes, low=1)
    needs_ridge = method in ("omp", "logdet")
    shaped = check_query_arguments(
        problems, features, scores, queries, ridge=ridge, score_scaling=score_scaling, needs_ridge=needs_ridge
    )
    place = _resolve_device(problems, device, features)
    mask, count = _check_rows(problems, features, candidates, budget)
    usable = shaped and dtype in (torch.float32, torch.float64) and isinstance(ridge, numbers.Real)
    if problems.messages and (not usable or place is None):  # else the values of the arrays are checked too
        problems.raise_if_any()
    assert place is not None
    if scratch is not None and place.type != "cpu":
        problems.add("scratch", f"got {str(scratch)!r} on {place}; a pool in a file is for the CPU only")
        problems.raise_if_any()
    how = Preparation(center, normalize, score_scaling, float(ridge), dtype, place, signed_scores, scratch)
    pool = prepare(problems, features, how, scores=scores, queries=queries, mask=mask)
    rule = Rule(method, float(tol), float(noise))
    return _run(pool, count, rule, int(cache_bytes), size=len(features))


def _run(pool: Pool, count: int, rule: Rule, cache_bytes: int, *, size: int) -> Selection:
    """Run the kernel on a prepared pool and put the result into the caller's row numbers."""
    total = query_gram(pool) if rule.method == "logdet" else None
    picks = select(Problem(pool, rule, total), count, cache_bytes)
    order = np.array(picks.order, dtype=np.int64)
    positions = torch.from_numpy(order).to(pool.rows.device)
    objective = Computed(partial(describe, pool, positions, rule.noise, total))
    gains, rounds = np.array(picks.gains), tuple(picks.rounds)
    return Selection(pool.index[order], gains, rounds, objective, size)


def check_options(problems: Problems, *, method: Any, ridge: Any, tol: Any, noise: Any, dtype: Any) -> None:
    """Note every option that is not allowed; the options are those of `gip_select`.

    Args:
        problems: problems are noted here.
        method: name of the greedy rule.
        ridge: number >= 0.
        tol: number >= 0.
        noise: number > 0.
        dtype: torch.float32 or torch.float64.

    Example:
        >>> problems = Problems()
        >>> check_options(problems, method="mp", ridge=-1, tol=0, noise=1e-6, dtype=torch.float32)
        >>> problems.messages
        ['ridge: got -1; give a finite number >= 0']
    """
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
    """Return the mask of rows that may be picked and the number of picks; (None, 0) if features have no rows."""
    shape = tuple(getattr(features, "shape", ()))
    if len(shape) != 2 or shape[0] == 0:
        return None, 0
    n = int(shape[0])
    mask = check_candidates(problems, candidates, n)
    try:
        count = resolve_budget(budget, n)
    except ValueError as error:
        problems.messages.append(str(error))
        return mask, 0
    if mask is not None and count > mask.sum():
        problems.add(
            "budget",
            f"asks for {count} picks, but only {int(mask.sum())} of {n} rows are candidates; "
            "lower the budget or admit more rows",
        )
    return mask, count
