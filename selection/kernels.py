"""Compiled inner loops of the fast CPU kernels: columns of the Gram matrix, the draft, the sweep over the pool.

Symbols as in `plain`. Every row goes through the same instructions in `columns`, wherever it stands and however
many threads run, so equal rows get bitwise equal columns and stay ties.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

TILE = 512


def compiled(parallel: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """numba.njit, cached on disk where a place for the cache can be found (there may be none)."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        options = {"fastmath": True, "nogil": True, "parallel": parallel}
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:
            return numba.njit(**options)(function)

    return decorate


@compiled(parallel=True)
def columns(pool: np.ndarray, vectors: np.ndarray, into: np.ndarray, out: np.ndarray) -> None:
    """out[into[t], j] = pool[j] . vectors[t] for all rows j of pool (n, d) and t of vectors (m, d), one dtype.

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


@compiled(parallel=True)
def product(rows: np.ndarray, vector: np.ndarray, out: np.ndarray) -> None:
    """out = rows @ vector, accumulated in float64 whatever the dtype of rows (p, d); vector, out float64."""
    p, d = rows.shape
    for block in numba.prange((p + 63) // 64):
        for i in range(block * 64, min(p, block * 64 + 64)):
            row = rows[i]
            total = 0.0
            for x in range(d):
                total += np.float64(row[x]) * vector[x]
            out[i] = total


@compiled(parallel=False)
def lowest_tied(value: np.ndarray, ids: np.ndarray, floor: float) -> int:
    """Position with the lowest id among values >= floor."""
    best = -1
    for p in range(len(value)):
        if value[p] >= floor and (best < 0 or ids[p] < ids[best]):
            best = p
    return best


@compiled(parallel=False)
def draft_dual(
    rows: np.ndarray,
    ids: np.ndarray,
    corr: np.ndarray,
    left: np.ndarray,
    projector: np.ndarray,
    options: tuple[bool, bool, float, float],
    position: np.ndarray,
    best: np.ndarray,
    ratio: np.ndarray,
    den: np.ndarray,
    coef: np.ndarray,
    unit: np.ndarray,
    beta: np.ndarray,
    vectors: np.ndarray,
) -> int:
    """Greedy picks among a few rows, all in float64; returns how many were made (fewer if no gain is left).

    rows (p, d), ids (p,), corr (p, k) float64 (in coordinates with B = I for logdet) and left (p,) are the state
    of these rows and are changed; projector (d, d) is Pi at the start (unused by mp).
    options: follow_span, logdet, ridge, tie. The rest is filled, one entry per pick: position among rows, the
    largest and the picked ratio |c|^2 / g, den, coef = c / den, the unit vector and factor of B's update, v.
    """
    follow_span, logdet, ridge, tie = options
    p, k = corr.shape
    steps = len(position)
    u = np.empty((steps, p))
    v = np.empty(rows.shape[1])
    value = np.empty(p)
    free = np.ones(p, dtype=np.bool_)
    for t in range(steps):
        for j in range(p):
            total = 0.0
            for q in range(k):
                total += corr[j, q] * corr[j, q]
            value[j] = total / (ridge + left[j]) if free[j] else -1.0
        top = value.max()
        if top <= 0.0:
            return t
        floor = -np.expm1((1 - tie) * np.log1p(-min(top, 1 - 1e-15))) if logdet else top * (1 - tie)
        i = lowest_tied(value, ids, floor)
        free[i] = False
        position[t], best[t], ratio[t] = i, top, value[i]
        if follow_span:
            for x in range(len(v)):
                v[x] = rows[i, x]
            product(projector, v, vectors[t])
            for s in range(t):
                share = u[s, i] / den[s]
                for x in range(len(v)):
                    vectors[t, x] -= share * vectors[s, x]
        else:
            for x in range(len(v)):
                vectors[t, x] = rows[i, x]
        total = 0.0
        for x in range(len(v)):
            total += rows[i, x] * vectors[t, x]
        den[t] = ridge + total
        product(rows, vectors[t], u[t])
        length = 0.0
        for q in range(k):
            coef[t, q] = corr[i, q] / den[t]
            length += corr[i, q] * corr[i, q]
        length = np.sqrt(length)
        if logdet:
            beta[t] = 1 / np.sqrt(1 - min(length * length / den[t], 1 - 1e-12)) - 1
            for q in range(k):
                unit[t, q] = corr[i, q] / length
        for j in range(p):
            along = 0.0
            for q in range(k):
                corr[j, q] -= u[t, j] * coef[t, q]
                along += corr[j, q] * unit[t, q]
            if logdet:
                for q in range(k):
                    corr[j, q] += beta[t] * along * unit[t, q]
            if follow_span:
                left[j] -= u[t, j] * u[t, j] / den[t]
    return steps


@compiled(parallel=True)
def sweep_dual(
    cols: np.ndarray,
    slot: np.ndarray,
    corr: np.ndarray,
    left: np.ndarray,
    coef: np.ndarray,
    unit: np.ndarray,
    beta: np.ndarray,
    share: np.ndarray,
    whiten: np.ndarray,
    options: tuple[bool, bool, bool],
    ridge: float,
    threshold: np.ndarray,
    outside: np.ndarray,
    flag: np.ndarray,
    score: np.ndarray,
) -> None:
    """Take every row of the pool through m picks, tile by tile so that its state stays in the cache.

    cols (r, n): row slot[t] holds u for pick t; corr (k, n), left (n,) are the pool's state; coef (m, k),
    unit, beta as in `draft_dual`; share (m,) = 1 / den (0 for mp); whiten (k, k) = L^-1.
    options: commit, logdet, follow_span. Without commit nothing but flag changes: flag[j] = 1 where a row with
    outside[j] reaches threshold[t] * g_j before pick t for any t (logdet: coordinates with B = I at the start).
    With commit the state is updated, in the original coordinates, and score (n,) = ratio after the last pick.
    """
    commit, logdet, follow_span = options
    k, n = corr.shape
    m = len(slot)
    kind = corr.dtype.type
    for tile in numba.prange((n + TILE - 1) // TILE):
        start = tile * TILE
        size = min(TILE, n - start)
        c = np.empty((k, TILE), corr.dtype)
        raw = np.empty((k, TILE), corr.dtype)
        total = np.empty(TILE, corr.dtype)
        p = np.empty(TILE, left.dtype)
        for j in range(size):
            p[j] = left[start + j]
        for q in range(k):
            for j in range(size):
                raw[q, j] = corr[q, start + j]
        if logdet and not commit:
            for q in range(k):
                for j in range(size):
                    c[q, j] = kind(0)
                for r in range(q + 1):
                    w = kind(whiten[q, r])
                    for j in range(size):
                        c[q, j] += w * raw[r, j]
        else:
            for q in range(k):
                for j in range(size):
                    c[q, j] = raw[q, j]
        for t in range(m):
            if not commit:
                for j in range(size):
                    total[j] = kind(0)
                for q in range(k):
                    for j in range(size):
                        total[j] += c[q, j] * c[q, j]
                bar = threshold[t]
                for j in range(size):
                    if total[j] >= bar * (ridge + p[j]):
                        flag[start + j] |= outside[start + j]
                if t == m - 1:
                    break
            u = cols[slot[t], start : start + size]
            for j in range(size):
                total[j] = kind(0)
            for q in range(k):
                a, e = kind(coef[t, q]), kind(unit[t, q])
                for j in range(size):
                    value = c[q, j] - a * u[j]
                    c[q, j] = value
                    total[j] += value * e
            if logdet and not commit:
                for q in range(k):
                    e = kind(unit[t, q] * beta[t])
                    for j in range(size):
                        c[q, j] += total[j] * e
            if follow_span:
                for j in range(size):
                    p[j] -= np.float64(u[j]) * np.float64(u[j]) * share[t]
        if commit:
            for j in range(size):
                left[start + j] = p[j]
                total[j] = kind(0)
            for q in range(k):
                for j in range(size):
                    corr[q, start + j] = c[q, j]
            for q in range(k):
                if logdet:
                    for j in range(size):
                        raw[q, j] = kind(0)
                    for r in range(q + 1):
                        w = kind(whiten[q, r])
                        for j in range(size):
                            raw[q, j] += w * c[r, j]
                else:
                    for j in range(size):
                        raw[q, j] = c[q, j]
                for j in range(size):
                    total[j] += raw[q, j] * raw[q, j]
            for j in range(size):
                score[start + j] = total[j] / (ridge + p[j])
