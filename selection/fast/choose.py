"""Choice of kernel: which problems look ahead, and which stay with the plain loop."""

from __future__ import annotations

from dataclasses import dataclass

from selection.plain import select_plain
from selection.problem import Picks, Problem
from selection.torch_settings import own_precision

# Below this many multiplications the plain loop is done in about a second.
SMALL = 3e8
# With less ridge than this share of the mean squared length, 1 / g_j magnifies float32 rounding too much.
LEAST_RIDGE = 1e-2


@dataclass(frozen=True)
class Lengths:
    """Smallest, mean and largest squared length of the rows of a pool."""

    smallest: float
    mean: float
    largest: float


def decides_in_float64(problem: Problem, n: int, budget: int, lengths: Lengths) -> bool:
    """Whether one process with a pool of n rows of these lengths, on a CPU, would run the fast kernels."""
    return n * problem.pool.rows.shape[1] * budget > SMALL and _bounded(problem, lengths)


def fast_applies(problem: Problem) -> bool:
    """Whether the fast kernels can run this problem: on a CPU, every g_j bounded away from zero."""
    square = problem.pool.square
    if problem.pool.rows.device.type != "cpu":
        return False
    return _bounded(problem, Lengths(float(square.min()), float(square.mean()), float(square.max())))


def _bounded(problem: Problem, lengths: Lengths) -> bool:
    ridge = problem.pool.ridge
    if problem.rule.method == "mp":
        return ridge + lengths.smallest > 1e-6 * lengths.largest
    return ridge >= LEAST_RIDGE * lengths.mean


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
