"""Input and output of a greedy kernel (in positions, not in the caller's row numbers)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from selection.prepare import Pool

# Gains this close (relative) to the largest are ties and go to the lowest row, so that rounding decides nothing.
TIE = {torch.float32: 1e-6, torch.float64: 1e-9}
# With ridge 0, a row whose part outside the span is below this share of its square adds no direction.
SPANNED = {torch.float32: 1e-4, torch.float64: 1e-9}


@dataclass(frozen=True)
class Rule:
    """The greedy rule.

    Attributes:
        method: "mp", "omp" or "logdet".
        tol: a round ends when the best gain falls below tol times the first.
        noise: variance added to the queries in log-determinants.
    """

    method: str
    tol: float
    noise: float


@dataclass(frozen=True)
class Problem:
    """What a kernel works on.

    Attributes:
        pool: the prepared pool.
        rule: the greedy rule.
        total: T = Q~^T Q~ (see `objective.query_gram`), which logdet needs.
    """

    pool: Pool
    rule: Rule
    total: torch.Tensor | None

    @property
    def compression(self) -> bool:
        """Whether the pool is its own query."""
        return self.pool.scores is None and self.pool.queries is None

    def correlations(self) -> torch.Tensor:
        """Return the initial correlations (n, k): the scores in float64, or F Q in the dtype of the pool."""
        if self.pool.scores is not None:
            return self.pool.scores
        assert self.pool.queries is not None
        return self.pool.rows @ self.pool.queries.to(self.pool.rows.dtype)


def lower_factor(matrix: torch.Tensor, least: float) -> torch.Tensor:
    """Return L (k, k), lower triangular, with L L^T = matrix, whose eigenvalues are known to be >= least > 0.

    Eigenvalues that rounding has taken below `least` (dependent or nearly covered queries) are set to it.
    """
    factor, failed = torch.linalg.cholesky_ex(matrix)
    # The smallest eigenvalue is at most the square of every pivot.
    if not failed and float(factor.diagonal().min()) ** 2 >= least:
        return factor
    values, vectors = torch.linalg.eigh(matrix)
    return torch.linalg.qr(values.clamp_min(least).sqrt()[:, None] * vectors.T).R.T.contiguous()


@dataclass(frozen=True)
class Picks:
    """The picks of a kernel.

    Attributes:
        order: positions in `Pool.rows` in pick order.
        gains: gain of each pick.
        rounds: where rounds start.
    """

    order: list[int]
    gains: list[float]
    rounds: list[int]
