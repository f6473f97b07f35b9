"""Compiled inner loops for scores and query embeddings: the draft and the sweep. Symbols as in `plain`."""

# ruff: noqa: PLR0912, PLR0917

from __future__ import annotations

import numba
import numpy as np

from selection.fast.kernels import TILE, compiled, lowest_tied, product


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

    rows (p, d), ids (p,), corr (p, k) float64 (logdet: in coordinates with B = I) and left (p,) are the state
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
    options: commit, logdet, follow_span. Without commit only flag changes: flag[j] = 1 where a row with
    outside[j] reaches threshold[t] * g_j before pick t for any t (logdet: coef in coordinates with B = I).
    With commit the state is updated (coef in original coordinates); score (n,) = ratio after the last pick.
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
