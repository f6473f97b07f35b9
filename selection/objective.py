"""The objective: information between the projections of a subset and of the queries; its trace relaxation.

Symbols as in `prepare`, and, for a subset with embeddings F_S (b, d) and scores S_S (b, k):
    A    = lam I + F_S^T F_S (d, d);  Pi = lam A^-1, or for lam = 0 the projector onto what F_S does not span
    f~_i = (f_i, sqrt(lam) e_i): a row in the augmented space, so that f~_i . f~_j = K_ij
    Q~   the queries there: for scores the one with F~ Q~ = S; embeddings: (Q; 0); self-compression: (F^T; 0)
    P~   projector onto span{f~_i : i in the subset};  T = Q~^T Q~;  R = Q~^T (I - P~) Q~ ("residual gram")
Woodbury's identity gives both without the augmented space:
    scores      T = (S^T S - S^T F (lam I + G)^-1 F^T S) / lam;  T - R is the same over the subset, with A
    embeddings  T = Q^T Q;  R = Q^T Pi Q
    self-compression (n x n, but with the non-zero spectrum of)  T ~ G;  R ~ Pi G
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from selection.checks import Problems, check_candidates, check_query_arguments
from selection.communicate import ALONE, Alone
from selection.prepare import Pool, Preparation, add_gram, mirrored, prepare
from selection.torch_settings import own_precision

MAX_QUERIES_FOR_INFORMATION = 64


@dataclass(frozen=True)
class Moments:
    """Sums over rows, over all processes: F^T F (d, d); with scores also F^T S (d, k) and S^T S (k, k)."""

    gram: torch.Tensor
    pulled: torch.Tensor | None
    square: torch.Tensor | None


def moments(pool: Pool, picks: torch.Tensor | None, comm: Alone = ALONE) -> Moments:
    """Moments in float64 of the rows at positions `picks` of this process's pool; None: of all."""
    rows = pool.rows if picks is None else pool.rows[picks]
    scores = pool.scores if picks is None or pool.scores is None else pool.scores[picks]
    d = rows.shape[1]
    gram = torch.zeros((d, d), dtype=torch.float64, device=rows.device)
    pulled = None if scores is None else torch.zeros((d, scores.shape[1])).to(gram)
    for start in range(0, len(rows), 1024):  # by blocks: no float64 copy of the pool
        block = rows[start : start + 1024]
        exact = block.to(torch.float64)
        # Products over the whole pool in its own dtype: float64 ones take twice as long, and block sums are
        # added in float64.
        add_gram(gram, block if picks is None else exact)
        if pulled is not None and scores is not None:
            pulled += exact.T @ scores[start : start + 1024]
    gram = comm.sum(mirrored(gram))
    if scores is None or pulled is None:
        return Moments(gram, None, None)
    return Moments(gram, comm.sum(pulled), comm.sum(scores.T @ scores))


def residual_projector(gram: torch.Tensor, ridge: float) -> torch.Tensor:
    """Pi (d, d) float64 from F_S^T F_S: lam (lam I + F_S^T F_S)^-1, or I - P for ridge 0."""
    eye = torch.eye(len(gram), dtype=torch.float64, device=gram.device)
    if ridge > 0:
        return ridge * torch.cholesky_inverse(torch.linalg.cholesky(ridge * eye + gram))
    values, vectors = torch.linalg.eigh(gram)
    basis = vectors[:, values > 1e-12 * values[-1].clamp_min(1e-300)]
    return eye - basis @ basis.T


def dual_gram(sums: Moments, ridge: float) -> torch.Tensor:
    """S^T K^-1 S (k, k) float64 over the rows of `sums`, by Woodbury; ridge > 0."""
    assert sums.pulled is not None
    assert sums.square is not None
    eye = torch.eye(len(sums.gram), dtype=torch.float64, device=sums.gram.device)
    factor = torch.linalg.cholesky(ridge * eye + sums.gram)
    total = (sums.square - sums.pulled.T @ torch.cholesky_solve(sums.pulled, factor)) / ridge
    return (total + total.T) / 2


@own_precision()
def query_gram(pool: Pool, comm: Alone = ALONE) -> torch.Tensor | None:
    """T: (k, k), or G (d, d) with the same non-zero spectrum for self-compression; None where it is absent.

    It is absent for scores with ridge 0, because no query has those scores as its correlations.
    """
    if pool.queries is not None:
        return pool.queries.T @ pool.queries
    if pool.scores is None:
        return pool.gram
    return dual_gram(moments(pool, None, comm), pool.ridge) if pool.ridge > 0 else None


def residual_gram(pool: Pool, picks: torch.Tensor, total: torch.Tensor, comm: Alone = ALONE) -> torch.Tensor:
    """R (k, k) for picks (b,), positions in `pool.rows`; self-compression: Pi G, with R's spectrum."""
    sums = moments(pool, picks, comm)
    if pool.scores is not None:
        return total - dual_gram(sums, pool.ridge)
    projector = residual_projector(sums.gram, pool.ridge)
    if pool.queries is not None:
        return pool.queries.T @ projector @ pool.queries
    return projector @ total


def information(total: torch.Tensor, residual: torch.Tensor, noise: float) -> float:
    """1/2 log det(I + T / noise) - 1/2 log det(I + R / noise) in nats; noise 0: 1/2 log(det T / det R)."""
    if noise > 0:
        return 0.5 * (_noisy_log_det(total, noise) - _noisy_log_det(residual, noise))
    sign_total, log_total = torch.linalg.slogdet(total)
    sign_residual, log_residual = torch.linalg.slogdet(residual)
    if float(sign_total) <= 0:
        return math.nan  # dependent queries: without noise the information is not defined
    return math.inf if float(sign_residual) <= 0 else 0.5 * float(log_total - log_residual)


def _noisy_log_det(gram: torch.Tensor, noise: float) -> float:
    """Log det(I + X / noise) for X (k, k) with a spectrum >= 0, which rounding may have taken below."""
    eye = torch.eye(len(gram), dtype=torch.float64, device=gram.device)
    sign, value = torch.linalg.slogdet(eye + gram / noise)
    if float(sign) <= 0:
        value = torch.log1p(torch.linalg.eigvals(gram).real.clamp_min(0.0) / noise).sum()
    return float(value)


@own_precision()
def describe(
    pool: Pool, picks: torch.Tensor, noise: float, total: torch.Tensor | None = None, comm: Alone = ALONE
) -> dict[str, float]:
    """Named values of the objective for picks (b,), positions in `pool.rows`.

    total: `query_gram(pool)` where it is known already.

    "trace": tr R, what is still uncovered (minimised); "projection_energy": tr T - tr R, what is covered;
    "mutual_information" (nats) for self-compression and up to 64 queries. Empty for scores with ridge 0.
    """
    total = query_gram(pool, comm) if total is None else total
    if total is None:
        return {}
    residual = residual_gram(pool, picks, total, comm)
    trace = max(float(residual.trace()), 0.0)
    values = {"trace": trace, "projection_energy": float(total.trace()) - trace}
    compression = pool.scores is None and pool.queries is None
    if compression or len(total) <= MAX_QUERIES_FOR_INFORMATION:
        values["mutual_information"] = information(total, residual, noise)
    return values


def mutual_information(
    features: Any,
    selected: Any,
    *,
    scores: Any = None,
    queries: Any = None,
    candidates: Any = None,
    ridge: float = 1.0,
    center: bool = True,
    normalize: bool = True,
    score_scaling: str = "rms",
    noise: float = 1e-6,
) -> float:
    """Compute the information between the projections of the queries and of selected rows, in float64.

    I = 1/2 log det(I + Q~^T Q~ / noise) - 1/2 log det(I + Q~^T (I - P~) Q~ / noise); noise 0: without the I.

    Args:
        features: (n, d) embeddings, prepared as in `gip_select`.
        selected: row numbers, in any order.
        scores: as in `gip_select`.
        queries: as in `gip_select`.
        candidates: as in `gip_select`.
        ridge: as in `gip_select`.
        center: as in `gip_select`.
        normalize: as in `gip_select`.
        score_scaling: as in `gip_select`.
        noise: variance added to the queries, >= 0.

    Returns:
        Information in nats; inf if nothing is left uncovered, NaN for dependent queries, both only with noise 0.

    Raises:
        ValueError: bad arguments, and scores with ridge 0 (no such query exists).

    Example:
        >>> features = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [-1.0, 0.2]])
        >>> scores = np.array([[4.0], [5.0], [3.0], [1.0]])
        >>> pair = mutual_information(features, [1, 2], scores=scores)
        >>> pair > mutual_information(features, [1], scores=scores)
        True
    """
    pool, picks = _prepare_reference(
        features,
        selected,
        scores=scores,
        queries=queries,
        candidates=candidates,
        ridge=ridge,
        center=center,
        normalize=normalize,
        score_scaling=score_scaling,
        noise=noise,
    )
    total = query_gram(pool)
    assert total is not None
    return information(total, residual_gram(pool, picks, total), noise)


def projection_energy(
    features: Any,
    selected: Any,
    *,
    scores: Any = None,
    queries: Any = None,
    candidates: Any = None,
    ridge: float = 1.0,
    center: bool = True,
    normalize: bool = True,
    score_scaling: str = "rms",
) -> float:
    """Compute |P~ Q~|_F^2, how much of the queries the span of selected rows covers, in float64.

    The greedy rule `omp` picks the row that increases it most.

    Args:
        features: (n, d) embeddings, prepared as in `gip_select`.
        selected: row numbers, in any order.
        scores: as in `gip_select`.
        queries: as in `gip_select`.
        candidates: as in `gip_select`.
        ridge: as in `gip_select`.
        center: as in `gip_select`.
        normalize: as in `gip_select`.
        score_scaling: as in `gip_select`.

    Returns:
        The covered energy, >= 0.

    Raises:
        ValueError: bad arguments, and scores with ridge 0 (no such query exists).

    Example:
        >>> features = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [-1.0, 0.2]])
        >>> covered = projection_energy(features, [0, 2])
        >>> 0 < covered < projection_energy(features, [0, 2, 3])
        True
    """
    pool, picks = _prepare_reference(
        features,
        selected,
        scores=scores,
        queries=queries,
        candidates=candidates,
        ridge=ridge,
        center=center,
        normalize=normalize,
        score_scaling=score_scaling,
        noise=0.0,
    )
    return describe(pool, picks, 1.0)["projection_energy"]


def _prepare_reference(
    features: Any,
    selected: Any,
    *,
    scores: Any,
    queries: Any,
    candidates: Any,
    ridge: float,
    center: bool,
    normalize: bool,
    score_scaling: str,
    noise: float,
) -> tuple[Pool, torch.Tensor]:
    """Check and prepare in float64 on the CPU what the two reference formulas share."""
    problems = Problems()
    problems.number("ridge", ridge)
    problems.number("noise", noise)
    shaped = check_query_arguments(
        problems, features, scores, queries, ridge=ridge, score_scaling=score_scaling, needs_ridge=True
    )
    rows = np.asarray(selected).reshape(-1)
    if not len(rows) or rows.dtype.kind not in "iu" or len(np.unique(rows)) != len(rows):
        problems.add("selected", "give at least one row number, as ints, none of them twice")
    problems.raise_if_any()
    assert shaped
    n = features.shape[0]
    mask = check_candidates(problems, candidates, n)
    if rows.min() < 0 or rows.max() >= n or (mask is not None and not mask[rows].all()):
        problems.add("selected", f"give row numbers from 0 to {n - 1} that are candidates")
    how = Preparation(center, normalize, score_scaling, float(ridge), torch.float64, torch.device("cpu"))
    pool = prepare(problems, features, how, scores=scores, queries=queries, mask=mask)
    return pool, torch.from_numpy(np.searchsorted(pool.index, rows))
