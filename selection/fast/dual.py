"""The columns-ahead state for scores and query embeddings. Symbols as in `plain`.

W (d, k), kept in float64, is such that c_j = s_j - f_j . W (for query embeddings s = 0 and W starts as -Q):
any row's correlations can be computed anew with no rounding that matters. Those on file are wrong by at most
E |f_j| + e, and the g_j on file (omp, logdet) by at most D, by the bounds of `columns.dot_error`. For D: a
row's p_j never falls below 0, so the u_j^2 / den of all picks add up to |f_j|^2 at most, and by Cauchy and
Schwarz the errors 2 u_j du_j / den to 2 |f_j| (sum of du_j^2 / den)^(1/2).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from selection.fast.ahead import CROWD, TIE_EXACT, Ahead
from selection.fast.columns import pool_products
from selection.fast.downdate import Downdated
from selection.problem import Problem, lower_factor

# Of logdet: the ratio is below 1, where the gain would be infinite; rounding may not know that.
LARGEST_RATIO = 1 - 1e-15


class DualAhead(Ahead):
    """c_j on file in `corr` (k, n), g_j in `rest` (n,), infinite for picked rows."""

    def __init__(self, problem: Problem, cache_bytes: int) -> None:
        super().__init__(problem, 1, cache_bytes)
        pool = problem.pool
        self.scores = pool.scores
        query = pool.scores if pool.scores is not None else pool.queries
        assert query is not None
        self.k = query.shape[1]
        zeros = self.square.new_zeros((self.d, self.k))
        self.first_weights = zeros if pool.queries is None else -pool.queries
        self.follow_span, self.logdet = self.rule.method != "mp", self.rule.method == "logdet"
        self.crowd = 8 if self.follow_span else CROWD  # p_j anew takes d^2
        self.corr = self.rows.new_empty((self.k, self.n))
        self.numbers = self.corr.numel()
        self.scratch, self.value = torch.empty_like(self.corr), self.rows.new_empty(self.n)
        self.span: Downdated | None = None
        self.restart()

    def restart(self) -> None:
        self.weights = self.first_weights.clone()
        self.rest = (self.ridge + self.square).to(self.dtype)
        self.rest[torch.from_numpy(~self.free)] = torch.inf
        self.rest_error = self.spent = 0.0
        if self.follow_span:
            self.span = Downdated(torch.eye(self.d).to(self.square))
            self.matrices = [self.span]
            self.forget()
        if self.logdet:
            assert self.problem.total is not None
            noise = self.rule.noise * torch.eye(self.k).to(self.square)
            self.cover = self.problem.total + noise  # B
            self._whiten()
        self.refresh()

    def _whiten(self) -> None:
        """L^-1 with B = L L^T, its length, and how much rounding it magnifies."""
        factor = lower_factor(self.cover, self.rule.noise)
        eye = torch.eye(self.k).to(factor)
        self.whitener = torch.linalg.solve_triangular(factor, eye, upper=False)
        self.stretch = float(torch.linalg.matrix_norm(self.whitener, 2))
        self.condition = self.stretch * float(torch.linalg.matrix_norm(factor, 2))

    def refresh(self) -> None:
        """Compute the correlations on file anew from W."""
        self.corr.zero_()
        if bool(self.weights.any()):
            pool_products(self.rows, -self.weights.T.to(self.dtype), self.corr, self.threads)
        if self.scores is not None:
            self.corr += self.scores.T
        self.error, self.flat_error = self._fresh_error(), 0.0

    def _fresh_error(self) -> float:
        return self.dot_error * float(torch.linalg.matrix_norm(self.weights))

    def refreshed(self) -> bool:
        if self.error <= 8 * self._fresh_error():
            return False
        self.refresh()
        return True

    def values(self) -> torch.Tensor:
        corr = self.corr
        if self.logdet:
            corr = self.whitener.to(self.dtype) @ corr
        torch.mul(corr, corr, out=self.scratch)
        torch.sum(self.scratch, 0, out=self.value)
        return self.value.div_(self.rest)

    def bar(self, top: float) -> float:
        root, unit = max(top, 0.0) ** 0.5, self.unit
        full = self.ridge + self.longest**2  # no g_j is larger
        # A free row's |c_j| is at most root (g_j)^(1/2): rounding it to the dtype costs this once a pick.
        self.flat_error += 2.2 * unit * root * full**0.5
        least = self.ridge if self.follow_span else self.ridge + float(self.square.min())
        slack = (self.error * self.longest + self.flat_error) / least**0.5
        relative = (self.k / 2 + 3) * unit
        if self.follow_span:
            wrong = self.rest_error + self.longest**2 * (2 * self.spent**0.5 + self.spent)
            relative += wrong / (2 * max(least - wrong, 1e-3 * least))
        if self.logdet:
            slack *= self.stretch
            relative += 2 * self.k**1.5 * unit * self.condition
        low = max(self.floor(top, TIE_EXACT), 0.0) ** 0.5 - 2 * (slack + relative * root)
        return max(low, 0.0) ** 2

    def exact(self, rows: np.ndarray) -> np.ndarray:
        numbers = rows.tolist()
        exact = self.rows[numbers].to(torch.float64)
        corr = self._correlations(numbers, exact)
        if self.logdet:
            corr = corr @ self.whitener.T
        left = self.square[numbers]
        if self.span is not None:  # less what the span holds of it: exactly the square where that is nothing
            left = left - ((exact - self.span.products(numbers, exact)) * exact).sum(dim=1)
        return (corr.square().sum(dim=1) / (self.ridge + left)).cpu().numpy()

    def _correlations(self, rows: list[int], exact: torch.Tensor) -> torch.Tensor:
        got = -(exact @ self.weights)
        return got if self.scores is None else got + self.scores[rows]

    def gain(self, ratio: float) -> float:
        return -float(np.log1p(-min(ratio, LARGEST_RATIO))) if self.logdet else ratio

    def floor(self, best: float, tie: float) -> float:
        return -float(np.expm1((tie - 1) * self.gain(best))) if self.logdet else super().floor(best, tie)

    def vectors(self, rows: list[int], exact: torch.Tensor) -> list[torch.Tensor]:
        self.planned = exact
        if self.span is not None:
            self.plan, self.planned = self.span.fork(), torch.empty_like(exact)
            self.plan.products(rows, exact)  # remembers the products with the base
            for at, row in enumerate(rows):
                self.planned[at] = v = self.plan.products([row], exact[at : at + 1])[0]
                self.plan.subtract(v, v / (2 * (self.ridge + float(exact[at] @ v))))
        return [self.planned]

    def advance(self, row: int, slot: int) -> None:
        exact, vector = self.rows[row].to(torch.float64), self.planned[slot]
        corr = self._correlations([row], exact[None])[0]
        den = self.ridge + float(exact @ vector)
        share, u, long = corr / den, self.columns[0][slot], float(torch.linalg.vector_norm(vector))
        self.corr.addr_(share.to(self.dtype), u, alpha=-1.0)
        self.weights.addr_(vector, share)
        self.rest[row] = torch.inf
        self.error += float(torch.linalg.vector_norm(share)) * long * (self.dot_error + 2.2 * self.unit)
        if self.logdet:
            self.cover.addr_(corr, corr, alpha=-1.0 / den)
            self._whiten()
        if self.span is not None:  # v v^T / den leaves Pi, u_j^2 / den leaves every p_j
            self.span.follow(self.plan, slot + 1)
            self.rest.addcmul_(u, u, value=-1.0 / den)
            self.rest_error += 3 * self.unit * (self.ridge + self.longest**2)
            self.spent += (self.dot_error * long) ** 2 / den

    def guesses(self, top: torch.Tensor) -> Iterator[int]:
        rows, corr, rest = self.rows[top], self.corr[:, top].T.contiguous(), self.rest[top]
        span = None if self.span is None else Downdated(self.span.base, self.dtype)
        inverse = torch.linalg.inv(self.cover).to(self.dtype) if self.logdet else None
        at = 0
        for _ in range(len(top)):
            yield at
            vector = rows[at] if span is None else span.product(rows[at])
            u = rows @ vector
            den = self.ridge + float(u[at])
            if inverse is not None:  # of B, which loses c c^T / den
                covered = inverse @ corr[at]
                rest_of = max(den - float(corr[at] @ covered), self.unit * den)
                inverse = inverse.addr(covered, covered, alpha=1 / rest_of)
            corr.addr_(u, corr[at] / den, alpha=-1.0)
            if span is not None:
                span.subtract(vector, vector / (2 * den))
                rest.addcmul_(u, u, value=-1.0 / den)
            rest[at] = torch.inf
            whitened = corr if inverse is None else corr @ inverse
            at = self.first_best((whitened * corr).sum(dim=1) / rest)
            if at < 0:
                return
