"""Argument checks shared by all baselines, and the construction of their result.

Conventions of all baselines:

- `budget`: an int is a count (1..n), a float in (0, 1] a share of the n pool rows: max(1, round(share * n)).
- `candidates`: an optional boolean mask (n,). Rows with False count in the pool that a share refers to, but
  are never picked, and their values are not read and may be NaN: for instance rows without a score.
- Picks are ordered. Where a method is nested in the budget, the picks for b are a prefix of those for B >= b.
- Ties go to the lowest index.
"""

from __future__ import annotations

import numbers
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selection.checks import Problems, check_candidates, check_matrix, resolve_budget
from selection.types import Selection

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


def check_seed(problems: Problems, seed: Any) -> None:
    """Note a problem unless `seed` is an int >= 0."""
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or seed < 0:
        problems.add("seed", f"got {seed!r}; give an int >= 0")


def check_count(
    problems: Problems, argument: str, value: Any, high: int | None = None, *, low: int = 1
) -> None:
    """Note a problem unless `value` is an int from `low` to `high` (None: no upper bound)."""
    is_int = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_int or value < low or (high is not None and value > high):
        span = f"an int >= {low}" if high is None else f"an int from {low} to {high}"
        problems.add(argument, f"got {value!r}; give {span}")


def check_share(problems: Problems, argument: str, value: Any) -> None:
    """Note a problem unless `value` is a number in (0, 1]."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0.0 < float(value) <= 1.0:
        problems.add(argument, f"got {value!r}; give a share in (0, 1]")


def check_pool(
    problems: Problems, n: int, budget: int | float, candidates: Any, *, seed: int | None = None
) -> tuple[IntArray, int]:
    """Return the rows that may be picked (ascending) and the number of picks; problems are noted, not raised."""
    check_count(problems, "n", n)
    if problems.messages and problems.messages[-1].startswith("n:"):
        return np.zeros(0, dtype=np.int64), 1
    if seed is not None:
        check_seed(problems, seed)
    mask = check_candidates(problems, candidates, n)
    rows = np.arange(n, dtype=np.int64) if mask is None else np.flatnonzero(mask).astype(np.int64)
    try:
        count = resolve_budget(budget, n)
    except ValueError as error:
        problems.messages.append(str(error))
        return rows, 1
    if count > len(rows):
        problems.add(
            "budget",
            f"asks for {count} picks, but candidates allows {len(rows)} of {n} rows; give a smaller one",
        )
        count = 1
    return rows, count


def to_float64(value: Any) -> FloatArray:
    """Return an array or tensor on any device as float64 (NumPy cannot read bfloat16 tensors)."""
    torch = sys.modules.get("torch")  # a caller that passes a tensor has imported it
    if torch is not None and isinstance(value, torch.Tensor):
        value = value.detach().to("cpu", torch.float64).numpy()
    return np.asarray(value, dtype=np.float64)


def as_float64(problems: Problems, argument: str, value: Any, candidates: Any = None) -> FloatArray:
    """Return `value` as a float64 matrix (n, d); NaN and inf are noted, except in rows outside `candidates`.

    If there is a problem, it is noted and a matrix of zeros with the same number of rows is returned.
    """
    if not check_matrix(problems, argument, value):
        return np.zeros((max(1, len(value) if np.ndim(value) else 0), 1))
    matrix = to_float64(value)
    bad = ~np.isfinite(matrix).all(axis=1)
    mask = check_candidates(Problems(), candidates, len(matrix))
    if mask is not None:
        bad &= mask
    if bad.any():
        problems.add(
            argument,
            f"row {int(bad.argmax())} holds NaN or inf ({int(bad.sum())} such rows in all); "
            "fix them or mark them False in candidates",
        )
        return np.zeros_like(matrix)
    return matrix


def ranking(
    indices: Any, gains: Any, *, rounds: tuple[int, ...] = (0,), objective: Mapping[str, float] | None = None
) -> Selection:
    """Return a `Selection` from picks in order and the gain of each."""
    return Selection(
        indices=np.asarray(indices),
        gains=np.asarray(gains, dtype=np.float64),
        rounds=rounds,
        objective=dict(objective or {}),
    )


def unit_rows(matrix: FloatArray, rows: IntArray) -> FloatArray:
    """Return rows `rows` of `matrix` scaled to unit length, (len(rows), d); ValueError names a zero row."""
    part = matrix[rows]
    length = np.linalg.norm(part, axis=1, keepdims=True)
    if not length.all():
        raise ValueError(
            f"features: row {rows[int(length.argmin())]} is zero and has no direction; "
            "leave it out or mark it False in candidates"
        )
    part /= length
    return part
