"""Compiled inner loops for self-compression: the draft and the sweep. Symbols as in `plain`.

Two numbers are kept for every row. Under mp and omp: e_j and p_j, with the matrices M and Pi. Under logdet:
p'_j and p_j, with Pi' and Pi. "first" is e or p', "second" is M or Pi'; z = M f_i or Pi' f_i, w = F z.
"""

# ruff: noqa: PLR0912, PLR0917

from __future__ import annotations

import numba
import numpy as np

from selection.fast.kernels import TILE, compiled, lowest_tied, product


@compiled(parallel=False)
def draft_compression(
    rows: np.ndarray,
    ids: np.ndarray,
    first: np.ndarray,
    left: np.ndarray,
    projector: np.ndarray,
    second: np.ndarray,
    options: tuple[bool, bool, float, float],
    position: np.ndarray,
    best: np.ndarray,
    ratio: np.ndarray,
    den: np.ndarray,
    other: np.ndarray,
    vectors: np.ndarray,
    seconds: np.ndarray,
) -> int:
    """Greedy picks among a few rows, in float64; returns how many were made (fewer if no gain is left).

    rows (p, d), ids (p,), first (p,), left (p,) are the state of these rows and are changed; projector and
    second (d, d) that of the matrices at the start. options: follow_span, logdet, ridge, tie. Filled, one
    entry per pick: position, largest and picked ratio (logdet: g_j / g'_j), den, other = e_i or lam + p'_i, v
    and z.
    """
    follow_span, logdet, ridge, tie = options
    p = len(rows)
    steps = len(position)
    u, w = np.empty((steps, p)), np.empty((steps, p))
    row = np.empty(rows.shape[1])
    value = np.empty(p)
    free = np.ones(p, dtype=np.bool_)
    for t in range(steps):
        for j in range(p):
            value[j] = (ridge + left[j]) / (ridge + first[j]) if logdet else first[j] / (ridge + left[j])
            if not free[j]:
                value[j] = -1.0
        top = value.max()
        if top <= (1.0 if logdet else 0.0):
            return t
        floor = np.exp((1 - tie) * np.log(top)) if logdet else top * (1 - tie)
        i = lowest_tied(value, ids, floor)
        free[i] = False
        position[t], best[t], ratio[t] = i, top, value[i]
        for x in range(len(row)):
            row[x] = rows[i, x]
        if follow_span:
            product(projector, row, vectors[t])
            for s in range(t):
                share = u[s, i] / den[s]
                for x in range(len(row)):
                    vectors[t, x] -= share * vectors[s, x]
        else:
            vectors[t] = row
        product(second, row, seconds[t])
        for s in range(t):
            if logdet:
                a, b = 0.0, w[s, i] / other[s]
            else:
                a, b = w[s, i] / den[s] - other[s] * u[s, i] / den[s] ** 2, u[s, i] / den[s]
            for x in range(len(row)):
                seconds[t, x] -= a * vectors[s, x] + b * seconds[s, x]
        along = across = 0.0
        for x in range(len(row)):
            along += row[x] * vectors[t, x]
            across += row[x] * seconds[t, x]
        den[t] = ridge + along
        other[t] = ridge + across if logdet else across
        product(rows, vectors[t], u[t])
        product(rows, seconds[t], w[t])
        for j in range(p):
            if logdet:
                first[j] -= w[t, j] ** 2 / other[t]
            else:
                first[j] -= (2 * w[t, j] - u[t, j] * other[t] / den[t]) * u[t, j] / den[t]
            if follow_span:
                left[j] -= u[t, j] ** 2 / den[t]
    return steps


@compiled(parallel=True)
def sweep_compression(
    cols: np.ndarray,
    steps: int,
    first: np.ndarray,
    left: np.ndarray,
    den: np.ndarray,
    other: np.ndarray,
    options: tuple[bool, bool, bool],
    ridge: float,
    threshold: np.ndarray,
    outside: np.ndarray,
    flag: np.ndarray,
    score: np.ndarray,
) -> None:
    """Take every row of the pool through m = steps picks, tile by tile.

    cols (2 m, n): u of pick t in row t, w in row m + t. options: commit, logdet, follow_span. Without commit
    only flag changes: flag[j] = 1 where a row with outside[j] reaches threshold[t] before pick t for any t.
    With commit first and left (n,) are updated and score (n,) is the ratio after the last pick.
    """
    commit, logdet, follow_span = options
    n = len(first)
    for tile in numba.prange((n + TILE - 1) // TILE):
        start = tile * TILE
        size = min(TILE, n - start)
        a, p = np.empty(TILE), np.empty(TILE)
        for j in range(size):
            a[j], p[j] = first[start + j], left[start + j]
        for t in range(steps):
            if not commit:
                bar = threshold[t]
                for j in range(size):
                    over = ridge + p[j] if logdet else a[j]
                    under = ridge + a[j] if logdet else ridge + p[j]
                    if over >= bar * under:
                        flag[start + j] |= outside[start + j]
            u = cols[t, start : start + size]
            w = cols[steps + t, start : start + size]
            share, weight = 1 / den[t], other[t]
            for j in range(size):
                uj, wj = np.float64(u[j]), np.float64(w[j])
                a[j] -= wj * wj / weight if logdet else (2 * wj - uj * weight * share) * uj * share
                if follow_span:
                    p[j] -= uj * uj * share
        if commit:
            for j in range(size):
                first[start + j], left[start + j] = a[j], p[j]
                score[start + j] = (ridge + p[j]) / (ridge + a[j]) if logdet else a[j] / (ridge + p[j])
