"""The greedy loop with columns computed ahead: the picks of the plain loop, and few passes over the pool.

A plain pick reads the whole pool for each product F X f_i (X is I, Pi or M, see `plain`). Here the rule first
runs ahead on a few rows with large gains, then one BLAS product gives the columns F X f_i of all rows it came
upon, each with the X of its turn if the rows before it are picked: the pool is read once for many picks. Which
row is picked is decided anew every time. Once it is another than the next guess, the columns left over are given
up, so a wrong guess costs columns and nothing else.

Decisions. Gains on file are kept for every row in the pool's dtype, with a bound on their rounding. The rows
that this bound cannot rule out are computed anew in float64, from the row itself and from small matrices that
are kept in float64. So the picks, ties among equal rows included, are those of the plain loop in float64 on
the same prepared pool, however BLAS rounds the columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch

from selection.fast.columns import dot_error, pool_products
from selection.fast.downdate import Downdated
from selection.problem import TIE, Picks, Problem
from selection.torch_settings import threads

TIE_EXACT = TIE[torch.float64]
# The rule runs ahead on at most this many numbers, so that its rows stay in the last cache.
AHEAD_NUMBERS = 2**21
# Columns that one look ahead computes: at first, at least and at most. Between, half as many again as were used last
# time: fewer are slower for BLAS, more are computed in vain.
LOOK, LEAST, MOST = 24, 8, 48
# With more numbers than this on file each step of a pick is worth a second thread.
WORTH_A_THREAD = 2**20
# More rows than this to be computed anew in one pick are worth a refresh of all.
CROWD = 64


class Ahead(ABC):
    """State of a fast selection: which rows are free, and the columns on file.

    matrices: the X that picks change, as they are now. columns: for each family (slots, n) in the pool's dtype;
    those in slots from `used` on are for the rows `guessed[used:]`, were these picked next and in this order.
    """

    exact_in_crowds = True  # whether rows are computed anew however many there are
    crowd = CROWD
    numbers: int  # on file

    def __init__(self, problem: Problem, families: int, cache_bytes: int) -> None:
        pool = problem.pool
        self.problem, self.rule, self.ridge = problem, problem.rule, pool.ridge
        self.rows, self.square, self.dtype = pool.rows, pool.square, pool.rows.dtype
        self.n, self.d = self.rows.shape
        self.unit = torch.finfo(self.dtype).eps / 2
        self.dot_error = dot_error(self.d, self.dtype) + self.unit  # the vector is rounded as well
        self.longest = float(self.square.max()) ** 0.5
        self.free = np.ones(self.n, dtype=bool)
        self.matrices: list[Downdated] = []
        most = int(max(1, min(MOST, cache_bytes // (self.n * self.rows.element_size() * families))))
        self.columns = [self.rows.new_empty((most, self.n)) for _ in range(families)]
        self.look, self.to_go = min(LOOK, most), most
        self.threads = torch.get_num_threads()
        self.guessed: list[int] = []
        self.used = 0

    # --- what each rule adds ----------------------------------------------------------------------

    @abstractmethod
    def restart(self) -> None:
        """Begin a round: nothing covered; picked rows stay picked."""

    @abstractmethod
    def values(self) -> torch.Tensor:
        """Ratios on file (n,), with which gains rise; at most 0 for picked rows."""

    @abstractmethod
    def bar(self, top: float) -> float:
        """Ratio on file below which no row can tie with the largest, if the largest on file is `top`."""

    @abstractmethod
    def exact(self, rows: np.ndarray) -> np.ndarray:
        """Ratios (m,) float64 of the rows with these numbers, computed anew."""

    @abstractmethod
    def guesses(self, top: torch.Tensor) -> Iterator[int]:
        """Positions in `top` in the order in which the rule would pick them, were there no other rows.

        It begins with position 0, whatever the rule says; ties go to the first position.
        """

    @abstractmethod
    def vectors(self, rows: list[int], exact: torch.Tensor) -> list[torch.Tensor]:
        """The vectors (m, d) float64 of each family's columns, were the rows `exact` (m, d) picked in this order."""

    @abstractmethod
    def advance(self, row: int, slot: int) -> None:
        """Take the values on file and the small matrices past the pick of `row`, whose columns are in `slot`."""

    def refreshed(self) -> bool:
        """Compute the values on file anew where that brings them much closer to the exact ones; whether it did."""
        return False

    def gain(self, ratio: float) -> float:
        """The rule's gain for a ratio."""
        return ratio

    def floor(self, best: float, tie: float) -> float:
        """Smallest ratio whose gain is within the share `tie` of that of the ratio `best`."""
        return best * (1 - tie)

    # --- decisions and columns --------------------------------------------------------------------

    def decide(self) -> tuple[int, float, float]:
        """The row to pick, its gain, and the largest gain (with which it ties)."""
        value, tie = self.values().cpu().numpy(), TIE_EXACT
        low = self.bar(float(value.max()))
        near = np.flatnonzero(value >= low)
        if len(near) > self.crowd and self.refreshed():
            return self.decide()
        if low <= 0:
            near = near[self.free[near]]
        if len(near) <= CROWD or self.exact_in_crowds:
            ratio = np.concatenate([self.exact(near[at : at + 512]) for at in range(0, len(near), 512)])
        else:
            ratio, tie = value[near].astype(np.float64), TIE[self.dtype]
        best = float(ratio.max())
        at = int(np.argmax(ratio >= self.floor(best, tie)))  # the first: near is ascending
        return int(near[at]), self.gain(float(ratio[at])), self.gain(best)

    def take(self, row: int) -> None:
        """Go past the pick of `row`."""
        if self.guessed[self.used : self.used + 1] != [row]:
            self.look_ahead(row)
        self.advance(row, self.used)
        self.used += 1
        self.free[row] = False

    def look_ahead(self, row: int) -> None:
        """Compute the columns of `row` and of the rows that may well follow it."""
        if self.guessed:
            self.look = min(len(self.columns[0]), max(LEAST, self.used + self.used // 2))
        self.write_back()
        top = self._leaders(row)
        chosen = list(islice(self.guesses(top), min(self.look, self.to_go)))
        self.guessed = top[chosen].tolist()
        vectors = self.vectors(self.guessed, self.rows[self.guessed].to(torch.float64))
        for store, of in zip(self.columns, vectors, strict=True):
            pool_products(self.rows, of.to(self.dtype), store[: len(of)], self.threads)

    def write_back(self) -> None:
        """Bring the matrices up to date, and give up the columns that are left over."""
        for matrix in self.matrices:
            matrix.write_back()
        self.forget()

    def forget(self) -> None:
        """Give up all columns."""
        self.guessed, self.used = [], 0

    def _leaders(self, row: int) -> torch.Tensor:
        """Number of `row`, then of the free rows with the largest values on file, ascending as ties are broken."""
        value = self.values()
        value[row] = torch.inf
        size = min(self.n, max(512, min(self.n // 32, AHEAD_NUMBERS // self.d)))
        top = torch.topk(value, min(size, int(self.free.sum()))).indices
        assert int(top[0]) == row
        return torch.cat([top[:1], top[1:].sort().values])

    def first_best(self, ratio: torch.Tensor) -> int:
        """The first position that ties with the largest ratio in its dtype; -1 where none is above 0."""
        best = float(ratio.max())
        return int((ratio >= self.floor(best, TIE[self.dtype])).to(torch.uint8).argmax()) if best > 0 else -1


def select_ahead(state: Ahead, budget: int) -> Picks:
    """`budget` picks, as the plain loop makes them."""
    with threads(state.threads if state.numbers > WORTH_A_THREAD else 1):
        return _select(state, budget)


def _select(state: Ahead, budget: int) -> Picks:
    picks, first, tol = Picks([], [], [0]), 0.0, state.rule.tol
    while len(picks.order) < budget:
        opens = len(picks.order) == picks.rounds[-1]
        state.to_go = budget - len(picks.order)
        row, gain, best = state.decide()
        if not opens and first > 0 and (best <= 0 or best < tol * first):
            picks.rounds.append(len(picks.order))
            state.restart()
            continue
        if opens and best <= 0:  # nothing is uncovered, and no pick changes that: the lowest rows fill up
            rest = np.flatnonzero(state.free)[: budget - len(picks.order)].tolist()
            picks.order.extend(rest)
            picks.gains.extend([0.0] * len(rest))
            break
        first = gain if opens else first
        picks.order.append(row)
        picks.gains.append(gain)
        state.take(row)
    return picks
