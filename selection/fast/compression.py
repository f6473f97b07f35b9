"""Fast kernels for self-compression on a CPU, by draft and check as in `fast_dual`.

Decisions are made on e_j and p_j (logdet: p'_j and p_j) kept in float64. Columns have the pool's dtype: with
float64 the picks are those of the plain loop; with float32 each pick leaves about 1e-7 of the starting energy
as rounding in e_j, and gains within 1e-6 of the largest count as ties.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from selection.fast import kernels
from selection.fast import kernels_compression as compiled
from selection.fast.drafts import AnyDraft, first_beaten, leaders, subtract_product
from selection.problem import TIE, Problem


@dataclass
class CompressionDraft(AnyDraft):
    """What `kernels_compression.draft_compression` gives."""

    other: np.ndarray
    seconds: np.ndarray


class CompressionRun:
    """State of one fast self-compression. Arrays are numpy views of the prepared pool."""

    def __init__(self, problem: Problem, cache_bytes: int) -> None:
        pool, rule = problem.pool, problem.rule
        assert pool.gram is not None
        self.problem, self.rule, self.ridge = problem, rule, pool.ridge
        self.rows, self.square = pool.rows.numpy(), pool.square.numpy()
        self.n, self.d = self.rows.shape
        self.follow_span, self.logdet = rule.method != "mp", rule.method == "logdet"
        self.tie = TIE[pool.rows.dtype]
        self.margin = 1e-4 if pool.rows.dtype == torch.float32 else 1e-8
        self.free = np.ones(self.n, dtype=bool)
        self.score = np.empty(self.n)
        kind = self.rows.dtype
        slots = int(max(8, min(128, cache_bytes // (self.n * kind.itemsize)))) // 4 * 4
        self.slots = np.empty((slots, self.n), kind)
        self.longest = slots // 2
        matrix = pool.gram
        if self.logdet:
            inverse = torch.linalg.inv(torch.eye(self.d, dtype=torch.float64) + pool.gram / rule.noise)
            matrix = (inverse + inverse.T) / 2
        self.first_matrix = matrix.numpy()
        self.first_value = quadratic_forms(pool.rows, matrix)
        self.restart()

    def restart(self) -> None:
        """Begin a round: nothing covered; picked rows stay picked."""
        self.first, self.left = self.first_value.copy(), self.square.copy()
        self.second = self.first_matrix.copy()
        self.projector = np.eye(self.d) if self.follow_span else np.eye(1)
        self._sweep(self._empty_draft(np.empty(0, dtype=np.int64), 0), commit=True)

    def _empty_draft(self, top: np.ndarray, steps: int) -> CompressionDraft:
        return CompressionDraft(
            top=top,
            rows=np.empty(steps, dtype=np.int64),
            best=np.empty(steps),
            ratio=np.empty(steps),
            gains=np.empty(steps),
            den=np.empty(steps),
            other=np.empty(steps),
            vectors=np.empty((steps, self.d)),
            seconds=np.empty((steps, self.d)),
        )

    def _sweep(
        self, draft: CompressionDraft, *, commit: bool, threshold: np.ndarray | None = None
    ) -> np.ndarray:
        flag = np.zeros(0 if commit else self.n, dtype=np.uint8)
        outside = np.zeros(0, dtype=np.uint8)
        if not commit:
            outside = self.free.astype(np.uint8)
            outside[draft.top] = 0
        with kernels.threads_for(8.0 * self.n * (len(draft) + 1)):
            compiled.sweep_compression(
                self.used if len(draft) else self.slots,
                len(draft),
                self.first,
                self.left,
                np.ascontiguousarray(draft.den),
                np.ascontiguousarray(draft.other),
                (commit, self.logdet, self.follow_span),
                self.ridge,
                np.empty(0) if threshold is None else threshold,
                outside,
                flag,
                self.score,
            )
        return np.flatnonzero(flag)

    def draft(self, size: int, steps: int, must: np.ndarray) -> CompressionDraft:
        """Run the rule ahead for up to `steps` picks among the `size` best free rows and the rows `must`."""
        top = leaders(self.score, self.free, size, must)
        draft = self._empty_draft(top, min(steps, len(top)))
        made = compiled.draft_compression(
            self.rows[top],
            top,
            self.first[top],
            self.left[top],
            self.projector,
            self.second,
            (self.follow_span, self.logdet, self.ridge, self.tie),
            draft.rows,
            draft.best,
            draft.ratio,
            draft.den,
            draft.other,
            draft.vectors,
            draft.seconds,
        )
        draft = draft.head(made)
        draft.rows = top[draft.rows]
        draft.gains = np.log(draft.ratio) if self.logdet else draft.ratio
        return draft

    def fill_columns(self, draft: CompressionDraft) -> None:
        """U and w of every drafted pick for the whole pool."""
        m = len(draft)
        vectors = np.concatenate([draft.vectors, draft.seconds])
        kernels.columns(self.rows, vectors, np.arange(2 * m), self.slots)
        self.used = self.slots[: 2 * m]

    def verify(self, draft: CompressionDraft) -> tuple[int, np.ndarray]:
        """How many picks of the draft stand, and the rows that won instead of the first that does not."""
        low = np.log(draft.best) * (1 - self.margin) if self.logdet else draft.best * (1 - self.margin)
        threshold = np.exp(low) if self.logdet else low
        suspects = self._sweep(draft, commit=False, threshold=threshold)
        return first_beaten(draft, suspects, self._recheck, self.floor)

    def _recheck(self, draft: CompressionDraft, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Ratios of `rows` before each pick of the draft, with products in float64."""
        exact = self.rows[rows].astype(np.float64)
        u, w = exact @ draft.vectors.T, exact @ draft.seconds.T
        first, left = self.first[rows], self.left[rows]
        for t in range(len(draft)):
            over, under = (
                (self.ridge + left, self.ridge + first) if self.logdet else (first, self.ridge + left)
            )
            yield over / under
            share = u[:, t] / draft.den[t]
            if self.logdet:
                first = first - w[:, t] ** 2 / draft.other[t]
            else:
                first = first - (2 * w[:, t] - share * draft.other[t]) * share
            if self.follow_span:
                left = left - u[:, t] * share

    def floor(self, top: float) -> float:
        """Smallest ratio whose gain ties with that of the ratio `top`."""
        return float(np.exp((1 - self.tie) * np.log(top))) if self.logdet else top * (1 - self.tie)

    def commit(self, draft: CompressionDraft) -> None:
        """Take the pool and the matrices through the first picks of the draft whose columns are on file."""
        m, v, z = len(draft), draft.vectors, draft.seconds
        drafted = len(self.used) // 2
        if m < drafted:  # bring u and w of the kept picks together
            self.used = self.used[np.r_[0:m, drafted : drafted + m]]
        self.free[draft.rows] = False
        if self.logdet:
            subtract_product(self.second, z.T / draft.other, z)
        else:
            # v z^T + z v^T - (e / den) v v^T = v (z - e v / 2 den)^T + (z - e v / 2 den) v^T
            half = z - v * (draft.other / draft.den / 2)[:, None]
            subtract_product(self.second, v.T / draft.den, half)
            subtract_product(self.second, half.T / draft.den, v)
        if self.follow_span:
            subtract_product(self.projector, v.T / draft.den, v)
        self._sweep(draft, commit=True)


def quadratic_forms(rows: torch.Tensor, matrix: torch.Tensor) -> np.ndarray:
    """f_j^T X f_j (n,) float64 for rows (n, d) and symmetric X (d, d), by blocks in the rows' dtype."""
    small = matrix.to(rows.dtype)
    values = torch.empty(len(rows), dtype=torch.float64)
    for start in range(0, len(rows), 4096):
        block = rows[start : start + 4096]
        values[start : start + 4096] = ((block @ small) * block).sum(dim=1, dtype=torch.float64)
    return values.numpy()
