"""Fast exact kernels for scores and query embeddings on a CPU: draft and check.

A plain pick reads the whole pool once. Here the rule first runs ahead on the few rows with the largest gains
(the draft), then one product gives the columns of all drafted rows for the whole pool, which is read once for
many picks, and one sweep checks that no row outside the draft would have won. What passes is committed; the
first pick that does not ends the chunk.

Exactness. With W (d, k) such that c_j = s_j - f_j . W (for query embeddings s = 0 and W starts as -Q), kept
in float64, any row can be computed anew with no rounding that matters. Drafted rows always are. For the
others the correlations on file carry the rounding of `columns`, at most |f_j| times `error` below; a row that
this bound cannot rule out is computed anew in float64. So decisions, ties included, are those of the plain
loop in float64 on the same prepared pool, whatever its dtype; only p_j (omp, logdet) carries float32
rounding, about 1e-7 a pick, where the pool is float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from selection.fast import kernels, kernels_dual
from selection.fast.drafts import AnyDraft, first_beaten, leaders, subtract_product
from selection.problem import TIE, Problem, lower_factor

TIE_EXACT = TIE[torch.float64]
# Of logdet: the ratio is below 1, where the gain would be infinite; rounding may not know that.
LARGEST_RATIO = 1 - 1e-15


@dataclass
class Draft(AnyDraft):
    """What `kernels_dual.draft_dual` gives; raw is c / den in the original coordinates."""

    coef: np.ndarray
    unit: np.ndarray
    beta: np.ndarray
    raw: np.ndarray


class DualRun:
    """State of one fast selection; see the module's text. Arrays are numpy views of the prepared pool."""

    def __init__(self, problem: Problem, cache_bytes: int) -> None:
        pool, rule = problem.pool, problem.rule
        self.problem, self.rule, self.ridge = problem, rule, pool.ridge
        self.rows = pool.rows.numpy()
        self.square = pool.square.numpy()
        self.n, self.d = self.rows.shape
        self.scores = None if pool.scores is None else pool.scores.numpy()
        query = pool.queries
        self.k = self.scores.shape[1] if self.scores is not None else query.shape[1]  # type: ignore[union-attr]
        self.first_weights = np.zeros((self.d, self.k)) if query is None else -query.numpy()
        self.follow_span, self.logdet = rule.method != "mp", rule.method == "logdet"
        kind = self.rows.dtype
        self.corr = np.empty((self.k, self.n), kind)
        self.score = np.empty(self.n, kind)
        self.free = np.ones(self.n, dtype=bool)
        slots = int(max(8, min(256, cache_bytes // (self.n * kind.itemsize)))) // 4 * 4
        self.slots = np.empty((slots, self.n), kind)
        self.longest = min(64, slots // 2)
        self.slot_of = np.full(self.n, -1, dtype=np.int64)
        self.held = np.full(slots, -1, dtype=np.int64)
        unit = np.finfo(kind).eps / 2
        # A compiled dot product of length d is at least four partial sums side by side.
        self.dot_error = (self.d / 4 + 8) * unit
        self.unit = unit
        self.length = float(np.sqrt(self.square.max()))
        self.imprecise = False
        self.restart()

    def restart(self) -> None:
        """Begin a round: nothing covered; picked rows stay picked."""
        self.weights = self.first_weights.copy()
        self.left = self.square.copy()
        self.projector = np.eye(self.d) if self.follow_span else np.eye(1)
        self.factor: np.ndarray = np.eye(self.k)  # L and L^-1 of `whiten`
        self.whitener: np.ndarray = np.eye(self.k)
        self.stretch = 1.0
        if self.logdet:
            assert self.problem.total is not None
            self.cover = self.problem.total.numpy() + self.rule.noise * np.eye(self.k)  # B
            self.whiten()
        self.refresh()

    def whiten(self) -> None:
        """L and L^-1 with B = L L^T."""
        self.factor = lower_factor(torch.from_numpy(self.cover), self.rule.noise).numpy()
        self.whitener = np.linalg.inv(self.factor)
        self.stretch = float(np.linalg.norm(self.whitener, 2))

    def refresh(self) -> None:
        """Compute the correlations on file anew from W; what is left of their error is this one rounding."""
        kernels.columns(self.rows, self.weights.T, np.arange(self.k), self.corr)
        np.negative(self.corr, out=self.corr)
        if self.scores is not None:
            self.corr += self.scores.T
        self.error = (self.dot_error + self.unit) * float(np.linalg.norm(self.weights))
        self.rank()

    def rank(self) -> None:
        """Ratios on file for all rows, by a sweep over no picks."""
        self._sweep(self._empty_draft(np.empty(0, dtype=np.int64), 0), commit=True)

    def _empty_draft(self, top: np.ndarray, steps: int) -> Draft:
        return Draft(
            top=top,
            rows=np.empty(steps, dtype=np.int64),
            best=np.empty(steps),
            ratio=np.empty(steps),
            den=np.empty(steps),
            coef=np.empty((steps, self.k)),
            unit=np.zeros((steps, self.k)),
            beta=np.zeros(steps),
            vectors=np.empty((steps, self.d)),
            raw=np.empty((steps, self.k)),
            gains=np.empty(steps),
        )

    def _sweep(self, draft: Draft, *, commit: bool, threshold: np.ndarray | None = None) -> np.ndarray:
        """Run `kernels_dual.sweep_dual` over the pool; returns the rows it flagged."""
        m = len(draft)
        flag = np.zeros(0 if commit else self.n, dtype=np.uint8)
        outside = np.zeros(0, dtype=np.uint8)
        if not commit:
            outside = self.free.astype(np.uint8)
            outside[draft.top] = 0
        coef = draft.raw if commit else draft.coef
        with kernels.threads_for(2.0 * self.n * self.k * (m + 1)):
            kernels_dual.sweep_dual(
                self.slots,
                self.chunk_slots[:m] if m else np.empty(0, dtype=np.int64),
                self.corr,
                self.left,
                np.ascontiguousarray(coef).reshape(m, self.k),
                np.ascontiguousarray(draft.unit).reshape(m, self.k),
                np.ascontiguousarray(draft.beta),
                1.0 / np.ascontiguousarray(draft.den),
                self.whitener,
                (commit, self.logdet, self.follow_span),
                self.ridge,
                np.empty(0) if threshold is None else threshold,
                outside,
                flag,
                self.score,
            )
        return np.flatnonzero(flag)

    def exact(self, rows: np.ndarray) -> np.ndarray:
        """c_j (len(rows), k) in float64, from W."""
        got = -(self.rows[rows].astype(np.float64) @ self.weights)
        return got if self.scores is None else got + self.scores[rows]

    def draft(self, size: int, steps: int, must: np.ndarray) -> Draft:
        """Run the rule ahead for up to `steps` picks among the `size` best free rows and the rows `must`."""
        top = leaders(self.score, self.free, size, must)
        rows = self.rows[top]
        corr = np.zeros((len(top), self.k)) if self.scores is None else self.scores[top].copy()
        product = np.empty(len(top))
        for q in range(self.k):
            kernels.product(rows, np.ascontiguousarray(self.weights[:, q]), product)
            corr[:, q] -= product
        if self.logdet:
            corr = corr @ self.whitener.T
        draft = self._empty_draft(top, min(steps, len(top)))
        made = kernels_dual.draft_dual(
            rows,
            top,
            np.ascontiguousarray(corr),
            self.left[top],
            self.projector,
            (self.follow_span, self.logdet, self.ridge, TIE_EXACT),
            draft.rows,
            draft.best,
            draft.ratio,
            draft.den,
            draft.coef,
            draft.unit,
            draft.beta,
            draft.vectors,
        )
        draft = draft.head(made)
        draft.rows = top[draft.rows]
        draft.gains = -np.log1p(-np.minimum(draft.ratio, LARGEST_RATIO)) if self.logdet else draft.ratio
        draft.raw = self._original(draft)
        return draft

    def _original(self, draft: Draft) -> np.ndarray:
        """Coef in the original coordinates: L_t c^ / den, with L_t followed through the draft."""
        if not self.logdet:
            return draft.coef
        factor = self.factor
        raw = np.empty_like(draft.coef)
        for t in range(len(draft)):
            raw[t] = factor @ draft.coef[t]
            e, beta = draft.unit[t], draft.beta[t]
            factor = factor - np.outer(factor @ e, e) * (beta / (1 + beta))
        return raw

    def fill_columns(self, draft: Draft) -> None:
        """Columns of the drafted picks into slots; under mp they stay valid and are kept for later chunks."""
        if self.follow_span:
            self.held[:] = -1
            self.slot_of[:] = -1
        need = draft.rows[self.slot_of[draft.rows] < 0]
        vacant = np.flatnonzero(self.held < 0)
        if len(vacant) < len(need):
            spare = self.held[self.held >= 0]
            spare = spare[~np.isin(spare, draft.rows)]
            out = spare[np.argsort(self.score[spare], kind="stable")[: len(need) - len(vacant)]]
            self.drop(out)
            vacant = np.flatnonzero(self.held < 0)
        if len(need):
            slots = vacant[: len(need)]
            self.slot_of[need], self.held[slots] = slots, need
            vectors = draft.vectors if self.follow_span else self.rows[need]
            kernels.columns(self.rows, vectors, slots, self.slots)
        self.chunk_slots = self.slot_of[draft.rows]

    def drop(self, rows: np.ndarray) -> None:
        """Give up the slots of these rows' columns."""
        held = self.slot_of[rows]
        self.held[held[held >= 0]] = -1
        self.slot_of[rows] = -1

    def thresholds(self, draft: Draft) -> np.ndarray:
        """Ratio on file, for every pick of the draft, below which a row cannot have won (see the module)."""
        # |W_t - W| <= sum |v_s| |c_s| / den_s: it bounds rounding only, so the triangle inequality will do.
        steps = np.linalg.norm(draft.vectors, axis=1) * np.linalg.norm(draft.raw, axis=1)
        drift = self.error + self.dot_error * (1 + self.unit) * np.concatenate([[0.0], np.cumsum(steps)[:-1]])
        lowest = self.ridge if self.follow_span else self.ridge + float(self.square.min())
        reach = self.stretch * self.length / np.sqrt(lowest)
        if self.logdet:
            reach = reach * np.cumprod(np.concatenate([[1.0], 1 + draft.beta[:-1]]))
        root = np.sqrt(draft.best * (1 - 2 * TIE_EXACT))
        slack = drift * reach + (len(draft) + self.k + 8) * 4 * self.unit * root
        return np.maximum(root - slack, 0.0) ** 2

    def verify(self, draft: Draft) -> tuple[int, np.ndarray]:
        """How many picks of the draft stand, and the rows that won instead of the first that does not."""
        suspects = self._sweep(draft, commit=False, threshold=self.thresholds(draft))
        self.imprecise = len(suspects) > max(64, self.n // 256)
        return first_beaten(draft, suspects, self._recheck, self.floor)

    def _recheck(self, draft: Draft, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Ratios of `rows` before each pick of the draft, in float64."""
        corr = self.exact(rows)
        if self.logdet:
            corr = corr @ self.whitener.T
        u = self.rows[rows].astype(np.float64) @ draft.vectors.T
        left = self.left[rows].copy()
        for t in range(len(draft)):
            yield (corr**2).sum(axis=1) / (self.ridge + left)
            corr = corr - np.outer(u[:, t], draft.coef[t])
            if self.logdet:
                corr += draft.beta[t] * np.outer(corr @ draft.unit[t], draft.unit[t])
            if self.follow_span:
                left -= u[:, t] ** 2 / draft.den[t]

    def floor(self, top: float) -> float:
        """Smallest ratio whose gain ties with that of the ratio `top`."""
        if not self.logdet:
            return top * (1 - TIE_EXACT)
        return float(-np.expm1((1 - TIE_EXACT) * np.log1p(-min(top, LARGEST_RATIO))))

    def commit(self, draft: Draft) -> None:
        """Take the pool and the small matrices through the picks of `draft`."""
        self.free[draft.rows] = False
        self.weights += draft.vectors.T @ draft.raw
        steps = np.linalg.norm(draft.vectors, axis=1) * np.linalg.norm(draft.raw, axis=1)
        size = np.sqrt(max(float(draft.best.max(initial=0.0)), 0.0) * (self.ridge + self.length**2))
        self.error += self.dot_error * float(steps.sum()) + 4 * self.unit * len(draft) * size / self.length
        if self.follow_span:
            subtract_product(self.projector, draft.vectors.T / draft.den, draft.vectors)
        if self.logdet:
            self.cover -= (draft.raw.T * draft.den) @ draft.raw
            self.whiten()
        self._sweep(draft, commit=True)
        if not self.follow_span:
            self.drop(draft.rows)
        if self.imprecise:
            self.refresh()
