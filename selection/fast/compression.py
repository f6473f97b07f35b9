"""The columns-ahead state for self-compression. Symbols as in `plain`.

Exact values come from M and Pi (logdet: Pi' and Pi), kept in float64. On file are two numbers a row, in float64
as well; what rounds them are the columns u and w. A bound for any rounding would soon rule out nothing, and to
compute all e_j anew takes n d^2 multiplications. So errors of different columns are taken as independent, each
of at most `DEVIATIONS` standard deviations, where a dot product of length d has at most the deviation
d^(1/2) unit |x| |y| (Higham and Mary 2019; what we measured lies far below). Picks could differ from those of
float64 where even that fails, and where the gains of more than `CROWD` rows cannot be told apart in the pool's
dtype: these are ties. Many are in logdet, whose first gains differ by 1e-8 (see `problem.TIE`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from selection.fast.ahead import TIE_EXACT, Ahead
from selection.fast.downdate import Downdated
from selection.problem import Problem
from selection.torch_settings import threads

DEVIATIONS = 4.0


class CompressionAhead(Ahead):
    """On file: `first` = e_j or p'_j, and `left` = p_j.

    Families: u = F v, and F y, where v y^T + y v^T leaves M: y = (z - e v / 2 den) / den with z = M f_i, e = f_i . z
    (logdet: F Pi' f_i).
    """

    exact_in_crowds = False

    def __init__(self, problem: Problem, cache_bytes: int) -> None:
        super().__init__(problem, 2, cache_bytes)
        gram = problem.pool.gram
        assert gram is not None
        self.follow_span, self.logdet = self.rule.method != "mp", self.rule.method == "logdet"
        self.first_matrix = gram
        if self.logdet:
            inverse = torch.linalg.inv(torch.eye(self.d).to(gram) + gram / self.rule.noise)
            self.first_matrix = (inverse + inverse.T) / 2
        self.first_value = quadratic_forms(self.rows, self.first_matrix)
        self.numbers, self.value = 2 * self.n, torch.empty_like(self.square)
        # What `first` (omp, logdet: the ratio) is multiplied by; 0 for picked rows.
        self.share = torch.ones_like(self.square) if self.follow_span else 1 / (self.ridge + self.square)
        self.deviation = DEVIATIONS * self.d**0.5 * self.unit
        self.restart()

    def restart(self) -> None:
        self.forget()
        self.span = Downdated(torch.eye(self.d).to(self.square)) if self.follow_span else None
        self.second = Downdated(self.first_matrix)
        self.matrices = [self.second] if self.span is None else [self.second, self.span]
        self.first, self.left = self.first_value.clone(), self.square.clone()
        self.variance = self._fresh_variance()

    def _fresh_variance(self) -> float:
        """What `first` is wrong by (squared) where it was just computed from its matrix."""
        largest = float(torch.linalg.matrix_norm(self.second.base))
        return (self.deviation * self.longest**2 * largest) ** 2

    def refreshed(self) -> bool:
        if self.variance <= 64 * self._fresh_variance():
            return False
        self.write_back()
        with threads(self.threads):
            self.first = quadratic_forms(self.rows, self.second.base)
        self.variance = self._fresh_variance()
        return True

    def values(self) -> torch.Tensor:
        if not self.follow_span:  # the divisor never changes
            return torch.mul(self.first, self.share, out=self.value)
        over, under = self.first, self.ridge + self.left
        if self.logdet:
            over, under = under, self.ridge + over
        return torch.div(over, under, out=self.value).mul_(self.share)

    def bar(self, top: float) -> float:
        least = self.ridge if self.follow_span else self.ridge + float(self.square.min())
        # Of p_j: the u_j^2 / den of all picks add up to |f_j|^2 at most, and |v|^2 to no more than den.
        left_error = 2 * self.deviation * self.longest**2 if self.follow_span else 0.0
        over, under = self.variance**0.5, left_error
        if self.logdet:
            over, under = under, over
        return self.floor(top, TIE_EXACT) - 2 * (over + top * under) / least

    def exact(self, rows: np.ndarray) -> np.ndarray:
        numbers = rows.tolist()
        exact = self.rows[numbers].to(torch.float64)
        over = (self.second.products(numbers, exact) * exact).sum(dim=1)
        left = self.square[numbers]
        if self.span is not None:  # less what the span holds of it: exactly the square where that is nothing
            left = left - ((exact - self.span.products(numbers, exact)) * exact).sum(dim=1)
        over, under = (self.ridge + left, self.ridge + over) if self.logdet else (over, self.ridge + left)
        return (over / under).cpu().numpy()

    def gain(self, ratio: float) -> float:
        return max(float(np.log(ratio)), 0.0) if self.logdet else max(ratio, 0.0)

    def floor(self, best: float, tie: float) -> float:
        return float(np.exp((1 - tie) * np.log(best))) if self.logdet else super().floor(best, tie)

    def vectors(self, rows: list[int], exact: torch.Tensor) -> list[torch.Tensor]:
        self.plans = [matrix.fork() for matrix in self.matrices]
        for plan in self.plans:
            plan.products(rows, exact)  # remembers the products with the base
        self.planned = [self._plan([row], f[None]) for row, f in zip(rows, exact, strict=True)]
        return [torch.stack([v for v, *_ in self.planned]), torch.stack([y for _, y, *_ in self.planned])]

    def _plan(self, row: list[int], exact: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float, float]:
        """Take the plans past the pick of a row (1, d).

        Returns the vectors of its columns, v and y (logdet: Pi' f), and what divides u_j^2 and w_j^2.
        """
        second, *span = self.plans
        v = (span[0].products(row, exact) if span else exact)[0]
        z = second.products(row, exact)[0]
        den, across = self.ridge + float(exact[0] @ v), float(exact[0] @ z)
        if span:
            span[0].subtract(v, v / (2 * den))
        if self.logdet:
            second.subtract(z, z / (2 * (self.ridge + across)))
            return v, z, den, self.ridge + across
        y = (z - v * (across / (2 * den))) / den
        second.subtract(v, y)
        return v, y, den, 1.0

    def advance(self, row: int, slot: int) -> None:
        v, other, den, across = self.planned[slot]
        for matrix, plan in zip(self.matrices, self.plans, strict=True):
            matrix.follow(plan, slot + 1)
        u, w = self.columns[0][slot], self.columns[1][slot]
        self.share[row] = 0.0
        if self.logdet:
            self.first -= w.square() / across
            reach = 2 * float(other @ other) / across
        else:
            self.first -= (2 * u).mul_(w)
            # 2 (u dw + w du), with |u| <= |f| |v| and |w| <= |f| |y|
            reach = 4 * float(torch.linalg.vector_norm(v) * torch.linalg.vector_norm(other))
        self.variance += (self.deviation * self.longest**2 * reach) ** 2
        if self.follow_span:
            self.left -= u.square() / den

    def guesses(self, top: torch.Tensor) -> Iterator[int]:
        rows = self.rows[top]
        first, left = self.first[top].to(self.dtype), self.left[top].to(self.dtype)
        span = None if self.span is None else Downdated(self.span.base, self.dtype)
        second, free, at = Downdated(self.second.base, self.dtype), torch.ones_like(left), 0
        for _ in range(len(top)):
            yield at
            f = rows[at]
            v, z = f if span is None else span.product(f), second.product(f)
            den, across = self.ridge + float(f @ v), float(f @ z)
            u, w = rows @ v, rows @ z
            if self.logdet:
                second.subtract(z, z / (2 * (self.ridge + across)))
                first -= w.square() / (self.ridge + across)
            else:
                second.subtract(v, (z - v * (across / (2 * den))) / den)
                first -= (2 / den * w - u * (across / den**2)) * u
            if span is not None:
                span.subtract(v, v / (2 * den))
                left -= u.square() / den
            free[at] = 0.0
            over, under = (
                (self.ridge + left, self.ridge + first) if self.logdet else (first, self.ridge + left)
            )
            at = self.first_best(over / under * free)
            if at < 0:
                return


def quadratic_forms(rows: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """f_j^T X f_j (n,) float64 for rows (n, d) and symmetric X (d, d), by blocks in the rows' dtype.

    X is folded into its upper triangle, whose columns need only the part of the rows above them.
    """
    folded = (2 * matrix.triu() - matrix.diagonal().diag()).to(rows.dtype)
    d, values = len(matrix), torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
    strip = max(64, -(-d // 4))
    for start in range(0, len(rows), 1024):
        block, part = rows[start : start + 1024], values[start : start + 1024]
        for left in range(0, d, strip):
            right = min(d, left + strip)
            product = (block[:, :right] @ folded[:right, left:right]) * block[:, left:right]
            part += product.sum(dim=1, dtype=torch.float64)
    return values
