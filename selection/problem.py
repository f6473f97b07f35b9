"""What a greedy kernel is given and what it returns (positions, not the caller's row numbers)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from selection.prepare import Pool

# Gains this close (relative) to the largest are ties and go to the lowest row: rounding decides nothing.
TIE = {torch.float32: 1e-6, torch.float64: 1e-9}
# With ridge 0: a row whose part outside the span is below this share of its square adds no direction.
SPANNED = {torch.float32: 1e-4, torch.float64: 1e-9}


@dataclass(frozen=True)
class Rule:
    """method: "mp", "omp" or "logdet"; tol ends a round; noise: variance in log-determinants."""

    method: str
    tol: float
    noise: float


@dataclass(frozen=True)
class Problem:
    """A prepared pool, the greedy rule, and T = Q~^T Q~ (see `objective.query_gram`), which only logdet needs."""

    pool: Pool
    rule: Rule
    total: torch.Tensor | None

    @property
    def compression(self) -> bool:
        """Whether the pool is its own query."""
        return self.pool.scores is None and self.pool.queries is None

    def correlations(self) -> torch.Tensor:
        """First correlations (n, k): the scores in float64, or F Q in the pool's dtype."""
        if self.pool.scores is not None:
            return self.pool.scores
        assert self.pool.queries is not None
        return self.pool.rows @ self.pool.queries.to(self.pool.rows.dtype)


def lower_factor(matrix: torch.Tensor, least: float) -> torch.Tensor:
    """L (k, k), lower triangular, with L L^T = matrix, whose eigenvalues are known to be >= least > 0.

    One that rounding has taken below that (queries that depend on each other, or are nearly covered) is put
    back.
    """
    factor, failed = torch.linalg.cholesky_ex(matrix)
    # The smallest eigenvalue is at most the square of any pivot.
    if not failed and float(factor.diagonal().min()) ** 2 >= least:
        return factor
    values, vectors = torch.linalg.eigh(matrix)
    return torch.linalg.qr(values.clamp_min(least).sqrt()[:, None] * vectors.T).R.T.contiguous()


@dataclass(frozen=True)
class Picks:
    """Positions in `Pool.rows` in pick order, their gains, and where rounds start."""

    order: list[int]
    gains: list[float]
    rounds: list[int]
