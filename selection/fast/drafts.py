"""Loop shared by the fast kernels: draft picks on a few rows, check them on all, commit what stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, Self

import numpy as np
import torch

from selection.problem import Picks, Problem

RECHECK_BLOCK = 512
# A draft works on at most this many numbers, so that its rows stay in the last cache.
DRAFT_NUMBERS = 2**21


@dataclass
class AnyDraft:
    """Picks made ahead on the rows `top`: in every other field one entry a pick, in order.

    best and ratio: the largest and the picked ratio of a pick; gains, den and vectors (v): as in `plain`.
    """

    top: np.ndarray
    rows: np.ndarray
    best: np.ndarray
    ratio: np.ndarray
    gains: np.ndarray
    den: np.ndarray
    vectors: np.ndarray

    def head(self, count: int) -> Self:
        """The first `count` picks."""
        return replace(
            self, **{f.name: getattr(self, f.name)[:count] for f in fields(self) if f.name != "top"}
        )

    def __len__(self) -> int:
        return len(self.rows)


class Run(Protocol):
    """State of a fast selection: knows its rule, not how far to look ahead."""

    n: int
    d: int
    problem: Problem
    free: np.ndarray
    longest: int

    def restart(self) -> None:
        """Begin a new round on what is left."""

    def draft(self, size: int, steps: int, must: np.ndarray) -> Any:
        """Run the rule ahead on `size` rows, those in `must` among them, for `steps` picks."""

    def fill_columns(self, draft: Any) -> None:
        """Compute the Gram columns of the drafted picks."""

    def verify(self, draft: Any) -> tuple[int, np.ndarray]:
        """How many drafted picks hold on the whole pool, and the rows that beat the next one."""

    def commit(self, draft: Any) -> None:
        """Take over the picks that hold."""


def leaders(score: np.ndarray, free: np.ndarray, size: int, must: np.ndarray) -> np.ndarray:
    """The `size` free rows with the largest score, and the rows `must`, ascending."""
    if size >= int(free.sum()):
        return np.flatnonzero(free)
    ranked = np.where(free, score, -1.0)
    top = np.argpartition(ranked, len(ranked) - size)[-size:]
    return np.union1d(top, must)


def subtract_product(matrix: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    """Matrix -= left @ right, in place and by torch, whose threads are the ones already awake."""
    torch.from_numpy(matrix).addmm_(torch.from_numpy(left), torch.from_numpy(right), alpha=-1.0)


def first_beaten(
    draft: AnyDraft,
    suspects: np.ndarray,
    ratios: Callable[[Any, np.ndarray], Iterator[np.ndarray]],
    floor: Callable[[float], float],
) -> tuple[int, np.ndarray]:
    """How many picks stand against rows outside the draft, and the rows that win where the next one falls.

    ratios(draft, rows) yields the exact ratios of rows before each pick; floor(top) is the smallest that
    ties.
    """
    stands, winners = len(draft), np.empty(0, dtype=np.int64)
    for start in range(0, len(suspects), RECHECK_BLOCK):
        rows = suspects[start : start + RECHECK_BLOCK]
        for t, ratio in enumerate(ratios(draft, rows)):
            if t > stands or t == len(draft):
                break
            low = floor(max(float(ratio.max()), float(draft.best[t])))
            wins = (ratio >= low) & ((rows < draft.rows[t]) | (draft.ratio[t] < low))
            if wins.any():
                winners = rows[wins] if t < stands else np.concatenate([winners, rows[wins]])
                stands = t
                break
    return stands, winners


def select_by_drafts(run: Run, budget: int) -> Picks:
    """`budget` picks, as the plain loop makes them."""
    picks, tol = Picks([], [], [0]), run.problem.rule.tol
    size = max(512, min(run.n // 32, DRAFT_NUMBERS // run.d))
    length, first, must = float(min(24, run.longest)), 0.0, np.empty(0, dtype=np.int64)
    idle = 0
    while len(picks.order) < budget:
        opens = len(picks.order) == picks.rounds[-1]
        steps = max(1, min(round(length), run.longest, budget - len(picks.order)))
        draft = run.draft(size, steps, must)
        if not len(draft) and (opens or first <= 0):
            # Every gain is exactly zero and nothing can change that: the lowest rows fill up.
            rest = np.flatnonzero(run.free)[: budget - len(picks.order)]
            picks.order.extend(rest.tolist())
            picks.gains.extend([0.0] * len(rest))
            break
        keep, ends = 0, not len(draft)
        if len(draft):
            run.fill_columns(draft)
            stands, must = run.verify(draft)
            keep, ends = _until_round_ends(draft.gains[:stands], first, opens=opens, tol=tol)
        if keep:
            first = float(draft.gains[0]) if opens else first
            run.commit(draft.head(keep))
            picks.order.extend(draft.rows[:keep].tolist())
            picks.gains.extend(draft.gains[:keep].tolist())
        if ends:
            picks.rounds.append(len(picks.order))
            run.restart()
            first, must = 0.0, np.empty(0, dtype=np.int64)
        idle = 0 if keep or ends else idle + 1
        assert idle < 8, "a draft that holds every row known to win makes progress"
        length = min(float(run.longest), max(6.0, 0.7 * length + 0.3 * (1.6 * keep + 2)))
    return picks


def _until_round_ends(gains: np.ndarray, first: float, *, opens: bool, tol: float) -> tuple[int, bool]:
    """How many of these gains belong to the round, and whether it ends after them."""
    if opens and len(gains):
        first = float(gains[0])
    low = (gains < tol * first) | (gains <= 0)
    if opens:
        low[:1] = False
    if first > 0 and low.any():
        return int(np.argmax(low)), True
    return len(gains), False
