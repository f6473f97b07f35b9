"""Compiled building blocks of the fast CPU kernels: columns of the Gram matrix, a product, the tie rule.

Every row goes through the same instructions in `columns`, wherever it stands and however many threads run, so
equal rows get bitwise equal columns and stay ties.
"""

# ruff: noqa: PLR0917

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np
import torch

TILE = 512
# Below this many multiplications a second thread costs more to wake than it saves.
WORTH_A_THREAD = 4e7


def compiled(parallel: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """numba.njit, cached on disk where a place for the cache can be found (there may be none)."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        options: dict[str, Any] = {"fastmath": True, "nogil": True, "parallel": parallel}
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:
            return numba.njit(**options)(function)

    return decorate


@contextmanager
def threads_for(work: float) -> Iterator[None]:
    """Run compiled loops inside on as many threads as torch may use, or on one where `work` is too little.

    work: multiplications.
    """
    before = numba.get_num_threads()
    numba.set_num_threads(min(before, torch.get_num_threads()) if work >= WORTH_A_THREAD else 1)
    try:
        yield
    finally:
        numba.set_num_threads(before)


def columns(pool: np.ndarray, vectors: np.ndarray, into: np.ndarray, out: np.ndarray) -> None:
    """out[into[t], j] = pool[j] . vectors[t] for rows j of pool (n, d) and t of vectors (m, d).

    vectors may have another dtype than pool and out, and are rounded to it. into (m,): rows of out (r, n).
    """
    padding = -len(vectors) % 4
    padded = np.zeros((len(vectors) + padding, pool.shape[1]), pool.dtype)
    padded[: len(vectors)] = vectors
    rows = np.concatenate([into, np.full(padding, -1, dtype=np.int64)])
    with threads_for(float(pool.size) * len(padded)):
        _columns(pool, padded, rows, out)


@compiled(parallel=True)
def _columns(pool: np.ndarray, vectors: np.ndarray, into: np.ndarray, out: np.ndarray) -> None:
    """out[into[t], j] = pool[j] . vectors[t] for rows j of pool (n, d) and t of vectors (m, d), one dtype.

    m is a multiple of 4; a negative into[t] is computed and dropped (padding).
    """
    n, d = pool.shape
    for tile in numba.prange((n + 127) // 128):
        for t in range(0, len(vectors), 4):
            x0, x1, x2, x3 = vectors[t], vectors[t + 1], vectors[t + 2], vectors[t + 3]
            for j in range(tile * 128, min(n, tile * 128 + 128), 4):
                # Past the end the last row is computed again: no separate tail with other rounding.
                f0, f1 = pool[j], pool[min(j + 1, n - 1)]
                f2, f3 = pool[min(j + 2, n - 1)], pool[min(j + 3, n - 1)]
                a00 = a01 = a02 = a03 = a10 = a11 = a12 = a13 = pool.dtype.type(0)
                a20 = a21 = a22 = a23 = a30 = a31 = a32 = a33 = pool.dtype.type(0)
                for x in range(d):
                    p0, p1, p2, p3 = f0[x], f1[x], f2[x], f3[x]
                    q0, q1, q2, q3 = x0[x], x1[x], x2[x], x3[x]
                    a00 += p0 * q0
                    a01 += p0 * q1
                    a02 += p0 * q2
                    a03 += p0 * q3
                    a10 += p1 * q0
                    a11 += p1 * q1
                    a12 += p1 * q2
                    a13 += p1 * q3
                    a20 += p2 * q0
                    a21 += p2 * q1
                    a22 += p2 * q2
                    a23 += p2 * q3
                    a30 += p3 * q0
                    a31 += p3 * q1
                    a32 += p3 * q2
                    a33 += p3 * q3
                _store(out, into[t], j, n, a00, a10, a20, a30)
                _store(out, into[t + 1], j, n, a01, a11, a21, a31)
                _store(out, into[t + 2], j, n, a02, a12, a22, a32)
                _store(out, into[t + 3], j, n, a03, a13, a23, a33)


@compiled(parallel=False)
def _store(out: np.ndarray, row: int, j: int, n: int, a: float, b: float, c: float, e: float) -> None:
    if row < 0:
        return
    out[row, j] = a
    if j + 1 < n:
        out[row, j + 1] = b
    if j + 2 < n:
        out[row, j + 2] = c
    if j + 3 < n:
        out[row, j + 3] = e


@compiled(parallel=False)
def product(rows: np.ndarray, vector: np.ndarray, out: np.ndarray) -> None:
    """Out = rows @ vector, accumulated in float64 whatever the dtype of rows (p, d); vector, out float64.

    Serial: p x d fits a core's cache, and waking threads for every drafted pick costs more than it saves.
    """
    p, d = rows.shape
    for i in range(0, p, 4):
        i1, i2, i3 = min(i + 1, p - 1), min(i + 2, p - 1), min(i + 3, p - 1)
        r0, r1, r2, r3 = rows[i], rows[i1], rows[i2], rows[i3]
        a0 = a1 = a2 = a3 = 0.0
        for x in range(d):
            value = vector[x]
            a0 += np.float64(r0[x]) * value
            a1 += np.float64(r1[x]) * value
            a2 += np.float64(r2[x]) * value
            a3 += np.float64(r3[x]) * value
        out[i], out[i1], out[i2], out[i3] = a0, a1, a2, a3


@compiled(parallel=False)
def lowest_tied(value: np.ndarray, ids: np.ndarray, floor: float) -> int:
    """Position with the lowest id among values >= floor."""
    best = -1
    for p in range(len(value)):
        if value[p] >= floor and (best < 0 or ids[p] < ids[best]):
            best = p
    return best
