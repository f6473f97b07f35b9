"""The greedy rules as plain loops, one product with the whole pool a pick: the reference for the fast kernels.

Symbols as in `prepare` and `objective`, and at any moment
    c_j = R~^T f~_j (k,): correlation of row j with what is still uncovered of the queries;  starts as s_j or Q^T f_j
    e_j = |c_j|^2 in self-compression, where c_j has n entries and is never built: e_j = f_j^T M f_j, M (d, d), starts as G
    g_j = lam + p_j = |(I - P~) f~_j|^2, p_j = f_j^T Pi f_j, starts as |f_j|^2
One pick of row i, for either rule, with v = f_i (mp, where Pi stays I) or v = Pi f_i (omp, logdet), den = lam + f_i . v,
and u = F v, w = F M f_i:
    c_j -= c_i u_j / den;   p_j -= u_j^2 / den and Pi -= v v^T / den (omp, logdet);   B -= c_i c_i^T / den (logdet)
    e_j -= 2 u_j w_j / den - u_j^2 e_i / den^2;   M -= (v (M f_i)^T + (M f_i) v^T) / den - e_i v v^T / den^2
Gains: mp |c_j|^2 / K_jj;  omp |c_j|^2 / g_j;  logdet -log(1 - c_j^T B^-1 c_j / g_j), which for self-compression is
log(lam + p_j) - log(lam + p'_j) with p' the same recursion started from Pi' = (I + G / noise)^-1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

# Gains this close (relative) to the largest are ties and go to the lowest row: rounding must not decide.
TIE = {torch.float32: 1e-5, torch.float64: 1e-9}
# A row whose part outside the span is below this share of its squared length adds no direction (ridge 0 only).
SPANNED = {torch.float32: 1e-4, torch.float64: 1e-9}


@dataclass(frozen=True)
class Problem:
    """A prepared selection problem; exactly one of scores, queries and (with neither) gram is the query.

    rows: (n, d) F. square: (n,) float64. start: (n, k) float64 first correlations, or None for self-compression.
    gram: (d, d) float64 G for self-compression. total: (k, k) float64 T = Q~^T Q~, needed by logdet.
    """

    rows: torch.Tensor
    square: torch.Tensor
    start: torch.Tensor | None
    gram: torch.Tensor | None
    total: torch.Tensor | None
    method: str
    ridge: float
    tol: float
    noise: float


@dataclass(frozen=True)
class Picks:
    """Positions in `Problem.rows` in pick order, their gains, and where rounds start."""

    order: list[int]
    gains: list[float]
    rounds: list[int]


class DualState:
    """Correlations with k queries, kept for every row."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        dtype = problem.rows.dtype
        assert problem.start is not None
        self.corr = problem.start.to(dtype).T.contiguous()  # (k, n): one contiguous run per query
        self.left = problem.square.to(dtype).clone()  # p_j
        self.floor = SPANNED[dtype] * problem.square.to(dtype)
        self.scratch = torch.empty_like(self.corr)
        d = problem.rows.shape[1]
        follows_span = problem.method != "mp"
        self.projector = torch.eye(d, dtype=dtype, device=problem.rows.device) if follows_span else None
        self.block: torch.Tensor | None = None
        if problem.method == "logdet":
            assert problem.total is not None
            self.block = problem.total + problem.noise * torch.eye(len(problem.total)).to(problem.total)

    def gains(self) -> torch.Tensor:
        g = self.problem.ridge + self.left
        corr = self.corr
        if self.block is not None:
            # c^T B^-1 c = |L^-1 c|^2 with B = L L^T
            factor = torch.linalg.cholesky(self.block).to(corr.dtype)
            corr = torch.linalg.solve_triangular(factor, corr, upper=False)
        torch.mul(corr, corr, out=self.scratch)
        ratio = self.scratch.sum(dim=0) / g
        if self.problem.ridge == 0:
            ratio[self.left <= self.floor] = 0.0
        if self.block is not None:
            ratio = -torch.log1p(-ratio.clamp_(max=1.0 - torch.finfo(ratio.dtype).eps))
        return ratio

    def pick(self, i: int) -> None:
        rows, ridge = self.problem.rows, self.problem.ridge
        v = rows[i] if self.projector is None else self.projector @ rows[i]
        den = ridge + float(rows[i] @ v)
        if den <= 0:
            return  # a zero row without ridge: it covers nothing
        u = rows @ v
        c = self.corr[:, i].clone()
        self.corr.addr_(c / den, u, alpha=-1.0)
        if self.projector is not None:
            self.left.addcmul_(u, u, value=-1.0 / den)
            self.projector.addr_(v, v, alpha=-1.0 / den)
        if self.block is not None:
            self.block.addr_(c.to(torch.float64), c.to(torch.float64), alpha=-1.0 / den)


class CompressionState:
    """Self-compression under mp and omp: energies e_j kept for every row, M kept in d x d."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        dtype = problem.rows.dtype
        assert problem.gram is not None
        self.moment = problem.gram.to(dtype).clone()  # M
        self.energy = ((problem.rows @ self.moment) * problem.rows).sum(dim=1)
        self.left = problem.square.to(dtype).clone()
        self.floor = SPANNED[dtype] * problem.square.to(dtype)
        d = problem.rows.shape[1]
        follows_span = problem.method != "mp"
        self.projector = torch.eye(d, dtype=dtype, device=problem.rows.device) if follows_span else None

    def gains(self) -> torch.Tensor:
        ratio = self.energy.clamp_min(0.0) / (self.problem.ridge + self.left)
        if self.problem.ridge == 0:
            ratio[self.left <= self.floor] = 0.0
        return ratio

    def pick(self, i: int) -> None:
        rows = self.problem.rows
        v = rows[i] if self.projector is None else self.projector @ rows[i]
        den = self.problem.ridge + float(rows[i] @ v)
        if den <= 0:
            return
        z = self.moment @ rows[i]
        e = float(rows[i] @ z)
        u, w = rows @ v, rows @ z
        self.energy.addcmul_(u, w, value=-2.0 / den).addcmul_(u, u, value=e / den**2)
        self.moment.addr_(v, z, alpha=-1.0 / den).addr_(z, v, alpha=-1.0 / den)
        self.moment.addr_(v, v, alpha=e / den**2)
        if self.projector is not None:
            self.left.addcmul_(u, u, value=-1.0 / den)
            self.projector.addr_(v, v, alpha=-1.0 / den)


class CompressionLogdetState:
    """Self-compression under logdet: two spans, the subset's (Pi) and the subset's plus the noisy query's (Pi')."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        rows, dtype = problem.rows, problem.rows.dtype
        assert problem.gram is not None
        eye = torch.eye(rows.shape[1], dtype=torch.float64, device=rows.device)
        noisy = torch.linalg.inv(eye + problem.gram / problem.noise)
        self.projectors = [eye.to(dtype), ((noisy + noisy.T) / 2).to(dtype)]
        self.left = [problem.square.to(dtype).clone(), ((rows @ self.projectors[1]) * rows).sum(dim=1)]
        self.floor = SPANNED[dtype] * problem.square.to(dtype)

    def gains(self) -> torch.Tensor:
        alone, together = self.left
        ridge = self.problem.ridge
        tiny = torch.finfo(alone.dtype).tiny
        gain = torch.log((ridge + alone).clamp_min(tiny)) - torch.log((ridge + together).clamp_min(tiny))
        if ridge == 0:
            gain[alone <= self.floor] = 0.0
        return gain.clamp_min_(0.0)

    def pick(self, i: int) -> None:
        rows = self.problem.rows
        for projector, left in zip(self.projectors, self.left, strict=True):
            v = projector @ rows[i]
            den = self.problem.ridge + float(rows[i] @ v)
            if den <= 0:
                continue
            u = rows @ v
            left.addcmul_(u, u, value=-1.0 / den)
            projector.addr_(v, v, alpha=-1.0 / den)


State = DualState | CompressionState | CompressionLogdetState


def new_state(problem: Problem) -> State:
    """The state at the start of a round: nothing selected, every query uncovered."""
    if problem.start is not None:
        return DualState(problem)
    return CompressionLogdetState(problem) if problem.method == "logdet" else CompressionState(problem)


def first_best(gains: torch.Tensor, tie: float) -> tuple[int, float]:
    """Lowest position whose gain ties with the largest, and its gain."""
    best = float(gains.max())
    position = int(torch.argmax((gains >= best - tie * abs(best)).to(torch.uint8)))
    return position, float(gains[position])


def select_plain(problem: Problem, budget: int) -> Picks:
    """`budget` picks by the rule of `problem`, one pass over the pool for each."""
    tie = TIE[problem.rows.dtype]
    taken = torch.zeros(len(problem.rows), dtype=torch.bool, device=problem.rows.device)
    state, first = new_state(problem), 0.0
    picks = Picks([], [], [0])
    for count in range(budget):
        i, gain = first_best(state.gains().masked_fill_(taken, -1.0), tie)
        if count > picks.rounds[-1] and first > 0 and (gain <= 0 or gain < problem.tol * first):
            picks.rounds.append(count)
            state = new_state(problem)
            i, gain = first_best(state.gains().masked_fill_(taken, -1.0), tie)
        if count == picks.rounds[-1]:
            first = gain
        picks.order.append(i)
        picks.gains.append(gain)
        taken[i] = True
        state.pick(i)
    return picks
