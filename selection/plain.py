"""The greedy rules as plain loops, one product with the whole pool a pick: the reference for all others.

Symbols as in `prepare` and `objective`, and at any moment
    c_j = R~^T f~_j (k,): correlation of row j with what is still uncovered; starts as s_j or Q^T f_j
    e_j = |c_j|^2 in self-compression, where c_j has n entries and is never built:
          e_j = f_j^T M f_j with M (d, d), which starts as G
    p_j = f_j^T Pi f_j, starts as |f_j|^2;  g_j = lam + p_j = |(I - P~) f~_j|^2
One pick of row i, with v = f_i (mp, where Pi stays I) or v = Pi f_i (omp, logdet), den = lam + f_i . v,
u = F v and w = F M f_i:
    c_j -= c_i u_j / den
    p_j -= u_j^2 / den, Pi -= v v^T / den (omp, logdet);  B -= c_i c_i^T / den (logdet; starts as T + noise I)
    e_j -= 2 u_j w_j / den - u_j^2 e_i / den^2;  M -= (v (M f_i)^T + (M f_i) v^T) / den - e_i v v^T / den^2
Gains: mp |c_j|^2 / K_jj;  omp |c_j|^2 / g_j;  logdet -log(1 - c_j^T B^-1 c_j / g_j), which by push-through
is, for self-compression, log(lam + p_j) - log(lam + p'_j), where p' follows the same recursion
started from Pi' = (I + G / noise)^-1.
"""

from __future__ import annotations

import numpy as np
import torch

from selection.communicate import ALONE, Alone
from selection.problem import SPANNED, TIE, Picks, Problem, lower_factor
from selection.torch_settings import own_precision


class DualState:
    """Correlations with k queries, kept for every row."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        pool, dtype = problem.pool, problem.pool.rows.dtype
        self.corr = problem.correlations().to(dtype).T.contiguous()  # (k, n): one contiguous run per query
        self.left = pool.square.to(dtype).clone()  # p_j
        self.floor = SPANNED[dtype] * pool.square.to(dtype)
        self.scratch = torch.empty_like(self.corr)
        self.message_length = pool.rows.shape[1] + len(self.corr)
        d = pool.rows.shape[1]
        follows_span = problem.rule.method != "mp"
        self.projector = torch.eye(d, dtype=dtype, device=pool.rows.device) if follows_span else None
        self.block: torch.Tensor | None = None
        if problem.rule.method == "logdet":
            assert problem.total is not None
            self.block = problem.total + problem.rule.noise * torch.eye(len(problem.total)).to(problem.total)

    def gains(self) -> torch.Tensor:
        """Gain (n,) of every candidate if it were picked next."""
        g = self.problem.pool.ridge + self.left.clamp_min(0.0)
        corr = self.corr
        if self.block is not None:
            # c^T B^-1 c = |L^-1 c|^2 with B = L L^T, and B >= noise I
            factor = lower_factor(self.block, self.problem.rule.noise).to(corr.dtype)
            corr = torch.linalg.solve_triangular(factor, corr, upper=False)
        torch.mul(corr, corr, out=self.scratch)
        ratio = self.scratch.sum(dim=0) / g
        if self.problem.pool.ridge == 0:
            ratio[self.left <= self.floor] = 0.0
        if self.block is not None:
            ratio = -torch.log1p(-ratio.clamp_(max=1.0 - torch.finfo(ratio.dtype).eps))
        return ratio

    def message(self, i: int) -> torch.Tensor:
        """What a process must know of row i to take its rows past that pick: (f_i, c_i)."""
        return torch.cat([self.problem.pool.rows[i], self.corr[:, i]])

    def apply(self, message: torch.Tensor) -> None:
        """Update the state past a pick."""
        rows, ridge = self.problem.pool.rows, self.problem.pool.ridge
        row, c = message[: rows.shape[1]], message[rows.shape[1] :]
        v = row if self.projector is None else self.projector @ row
        den = ridge + float(row @ v)
        if den <= 0:
            return  # a zero row without ridge: it covers nothing
        u = rows @ v
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
        pool, dtype = problem.pool, problem.pool.rows.dtype
        assert pool.gram is not None
        self.moment = pool.gram.to(dtype).clone()  # M
        self.message_length = pool.rows.shape[1]
        self.energy = ((pool.rows @ self.moment) * pool.rows).sum(dim=1)
        self.left = pool.square.to(dtype).clone()
        self.floor = SPANNED[dtype] * pool.square.to(dtype)
        d = pool.rows.shape[1]
        follows_span = problem.rule.method != "mp"
        self.projector = torch.eye(d, dtype=dtype, device=pool.rows.device) if follows_span else None

    def gains(self) -> torch.Tensor:
        """Gain (n,) of every candidate if it were picked next."""
        ratio = self.energy.clamp_min(0.0) / (self.problem.pool.ridge + self.left.clamp_min(0.0))
        if self.problem.pool.ridge == 0:
            ratio[self.left <= self.floor] = 0.0
        return ratio

    def message(self, i: int) -> torch.Tensor:
        """What a process must know of row i: f_i."""
        return self.problem.pool.rows[i]

    def apply(self, row: torch.Tensor) -> None:
        """Update the state past a pick."""
        rows = self.problem.pool.rows
        v = row if self.projector is None else self.projector @ row
        den = self.problem.pool.ridge + float(row @ v)
        if den <= 0:
            return
        z = self.moment @ row
        e = float(row @ z)
        u, w = rows @ v, rows @ z
        self.energy.addcmul_(u, w, value=-2.0 / den).addcmul_(u, u, value=e / den**2)
        self.moment.addr_(v, z, alpha=-1.0 / den).addr_(z, v, alpha=-1.0 / den)
        self.moment.addr_(v, v, alpha=e / den**2)
        if self.projector is not None:
            self.left.addcmul_(u, u, value=-1.0 / den)
            self.projector.addr_(v, v, alpha=-1.0 / den)


class CompressionLogdetState:
    """Self-compression under logdet: p_j and p'_j, with their projectors Pi and Pi'."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        pool, rows, dtype = problem.pool, problem.pool.rows, problem.pool.rows.dtype
        assert pool.gram is not None
        eye = torch.eye(rows.shape[1], dtype=torch.float64, device=rows.device)
        noisy = torch.linalg.inv(eye + pool.gram / problem.rule.noise)
        self.message_length = rows.shape[1]
        self.projectors = [eye.to(dtype), ((noisy + noisy.T) / 2).to(dtype)]
        self.left = [pool.square.to(dtype).clone(), ((rows @ self.projectors[1]) * rows).sum(dim=1)]
        self.floor = SPANNED[dtype] * pool.square.to(dtype)

    def gains(self) -> torch.Tensor:
        """Gain (n,) of every candidate if it were picked next."""
        alone, together = self.left
        ridge = self.problem.pool.ridge
        tiny = torch.finfo(alone.dtype).tiny
        gain = torch.log((ridge + alone).clamp_min(tiny)) - torch.log((ridge + together).clamp_min(tiny))
        if ridge == 0:
            gain[alone <= self.floor] = 0.0
        return gain.clamp_min_(0.0)

    def message(self, i: int) -> torch.Tensor:
        """What a process must know of row i: f_i."""
        return self.problem.pool.rows[i]

    def apply(self, row: torch.Tensor) -> None:
        """Update the state past a pick."""
        rows = self.problem.pool.rows
        for projector, left in zip(self.projectors, self.left, strict=True):
            v = projector @ row
            den = self.problem.pool.ridge + float(row @ v)
            if den <= 0:
                continue
            u = rows @ v
            left.addcmul_(u, u, value=-1.0 / den)
            projector.addr_(v, v, alpha=-1.0 / den)


State = DualState | CompressionState | CompressionLogdetState


def new_state(problem: Problem) -> State:
    """The state at the start of a round: nothing selected, every query uncovered."""
    if not problem.compression:
        return DualState(problem)
    return CompressionLogdetState(problem) if problem.rule.method == "logdet" else CompressionState(problem)


class Race:
    """Finds the winner of a pick among the rows of all processes, and tells everybody about it."""

    def __init__(self, problem: Problem, comm: Alone) -> None:
        rows = problem.pool.rows
        self.comm, self.rows, self.tie = comm, rows, TIE[rows.dtype]
        self.starts = np.cumsum([0, *comm.gather(len(rows))])
        self.taken = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)

    def winner(self, gains: torch.Tensor) -> tuple[int, float]:
        """Lowest position, counted over all processes, whose gain ties with the largest; the largest gain."""
        gains = gains.masked_fill_(self.taken, -1.0)
        best = self.comm.largest(float(gains.max()) if len(gains) else -1.0)
        position = int(self.starts[-1])
        tied = gains >= best - self.tie * abs(best)
        if bool(tied.any()):
            position = int(self.starts[self.comm.rank]) + int(torch.argmax(tied.to(torch.uint8)))
        return self.comm.lowest(position), best

    def announce(self, position: int, state: State, gains: torch.Tensor) -> tuple[float, torch.Tensor]:
        """The winner's gain and its message, from the process that holds it; marks it as taken there."""
        owner = int(np.searchsorted(self.starts, position, side="right")) - 1
        value = None
        if owner == self.comm.rank:
            i = position - int(self.starts[owner])
            self.taken[i] = True
            value = torch.cat([gains[i : i + 1], state.message(i)]).to(torch.float64)
        told = self.comm.broadcast(value, owner, state.message_length + 1)
        return float(told[0]), told[1:].to(self.rows.dtype)


@own_precision()
def select_plain(problem: Problem, budget: int, comm: Alone = ALONE) -> Picks:
    """`budget` picks by the rule of `problem`, one pass over the pool for each.

    With several processes `problem` holds this one's rows, and positions count over all of them in rank
    order.
    """
    race, state, first = Race(problem, comm), new_state(problem), 0.0
    picks, tol = Picks([], [], [0]), problem.rule.tol
    for count in range(budget):
        gains = state.gains()
        position, best = race.winner(gains)
        if count > picks.rounds[-1] and first > 0 and (best <= 0 or best < tol * first):
            picks.rounds.append(count)
            state = new_state(problem)
            gains = state.gains()
            position, best = race.winner(gains)
        gain, message = race.announce(position, state, gains)
        if count == picks.rounds[-1]:
            first = gain
        picks.order.append(position)
        picks.gains.append(gain)
        state.apply(message)
    return picks
