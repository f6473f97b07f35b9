"""Choice of kernel: which problems look ahead, and which stay with the plain loop."""

from __future__ import annotations

from selection.plain import select_plain
from selection.problem import Picks, Problem
from selection.torch_settings import own_precision

# Below this many multiplications the plain loop is done in about a second.
SMALL = 3e8
# With less ridge than this share of the mean squared length, 1 / g_j magnifies float32 rounding too much.
LEAST_RIDGE = 1e-2


def fast_applies(problem: Problem) -> bool:
    """Whether the fast kernels can run this problem: on a CPU, every g_j bounded away from zero."""
    pool, method = problem.pool, problem.rule.method
    if pool.rows.device.type != "cpu":
        return False
    if method == "mp":
        return pool.ridge + float(pool.square.min()) > 1e-6 * float(pool.square.max())
    return pool.ridge >= LEAST_RIDGE * float(pool.square.mean())


@own_precision()
def select_fast(problem: Problem, budget: int, cache_bytes: int) -> Picks:
    """`budget` picks with columns computed ahead; `fast_applies(problem)` must hold."""
    from selection.fast.ahead import select_ahead
    from selection.fast.compression import CompressionAhead
    from selection.fast.dual import DualAhead

    kind = CompressionAhead if problem.compression else DualAhead
    return select_ahead(kind(problem, cache_bytes), budget)


def select(problem: Problem, budget: int, cache_bytes: int) -> Picks:
    """`budget` picks by the fastest kernel that applies."""
    n, d = problem.pool.rows.shape
    if n * d * budget > SMALL and fast_applies(problem):
        return select_fast(problem, budget, cache_bytes)
    return select_plain(problem, budget)
