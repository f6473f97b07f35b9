"""Checks of arguments: every problem is collected first, then all are reported in one ValueError."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch  # imported where a tensor is inspected; a table of signals is checked without it


class Problems:
    """Collects problems with arguments; `raise_if_any` reports them together."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def add(self, argument: str, message: str) -> None:
        """Note a problem with `argument`; `message` says what it is, what is allowed and what to do."""
        self.messages.append(f"{argument}: {message}")

    def raise_if_any(self) -> None:
        """Raise ValueError with all messages, if there are any."""
        if len(self.messages) == 1:
            raise ValueError(self.messages[0])
        if self.messages:
            lines = "\n".join(f"  - {message}" for message in self.messages)
            raise ValueError(f"{len(self.messages)} bad arguments:\n{lines}")

    def number(self, argument: str, value: Any, *, low: float = 0.0, above: bool = False) -> None:
        """Note a problem unless `value` is a finite number >= low, or > low if `above`."""
        real = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not real or not math.isfinite(value) or value < low or (above and value == low):
            self.add(argument, f"got {value!r}; give a finite number {'>' if above else '>='} {low:g}")

    def option(self, argument: str, value: Any, allowed: Iterable[str]) -> None:
        """Note a problem unless `value` is one of the names in `allowed`."""
        names = list(allowed)
        if value not in names:
            self.add(argument, f"got {value!r}; choose one of {', '.join(names)}")


def resolve_budget(budget: int | float, n: int) -> int:
    """Return the number of picks that `budget` asks for in a pool of `n` rows.

    Args:
        budget: an int is a count from 1 to n; a float in (0, 1] is a share of the pool and gives
            max(1, round(budget * n)) with Python's rounding (halves to even).
        n: rows of the pool.

    Returns:
        Number of picks.

    Raises:
        ValueError: `budget` is neither.

    Example:
        >>> resolve_budget(0.1, 25), resolve_budget(1, 25), resolve_budget(1.0, 25)
        (2, 1, 25)
    """
    if isinstance(budget, numbers.Integral) and not isinstance(budget, bool):
        if 1 <= int(budget) <= n:
            return int(budget)
        raise ValueError(f"budget: got {budget}; a count must be from 1 to {n}, the size of the pool")
    if isinstance(budget, numbers.Real) and not isinstance(budget, bool):
        if 0.0 < float(budget) <= 1.0:
            return max(1, round(float(budget) * n))
        raise ValueError(
            f"budget: got {budget}; a share must be above 0 and at most 1 "
            "(write a count as an int: 1 is one row)"
        )
    raise ValueError(
        f"budget: got {budget!r}; give an int (a count) or a float in (0, 1] (a share of the pool)"
    )


def check_matrix(problems: Problems, argument: str, value: Any, *, rows: str = "rows") -> bool:
    """Note a problem unless `value` is a real 2-d array or tensor with at least one row and column.

    Returns whether its shape can be relied on. Values are not checked (see `first_bad_row`).
    """
    import torch

    if isinstance(value, torch.Tensor):
        usable = not (value.is_complex() or value.dtype == torch.bool or value.is_sparse)
    elif isinstance(value, np.ndarray):
        usable = value.dtype.kind in "fiu"
    else:
        problems.add(argument, f"got {_kind(value)}; give a numpy array or a torch tensor")
        return False
    if not usable:
        problems.add(argument, f"has dtype {value.dtype}; give real numbers (a float or integer dtype)")
        return False
    if value.ndim != 2:
        problems.add(argument, f"has shape {tuple(value.shape)}; give 2 dimensions ({rows} x columns)")
        return False
    if 0 in value.shape:
        problems.add(argument, f"has shape {tuple(value.shape)}; give at least one row and one column")
        return False
    return True


def _kind(value: Any) -> str:
    """Describe a value that is no table of numbers."""
    if type(value).__module__.startswith("scipy.sparse"):
        return (
            f"{type(value).__name__} (sparse: reduce it to a few hundred columns by sklearn's TruncatedSVD, or call "
            ".toarray() if that fits into memory)"
        )
    return type(value).__name__


def first_bad_row(block: torch.Tensor) -> int | None:
    """Return the first row of a 2-d tensor that holds NaN or inf, or None."""
    import torch

    # A finite sum proves that every term is finite; only an infinite or overflowing one needs the full check.
    if bool(torch.isfinite(block.sum())):
        return None
    bad = torch.nonzero(~torch.isfinite(block).all(dim=1)).reshape(-1)
    return int(bad[0]) if len(bad) else None


def check_candidates(problems: Problems, candidates: Any, n: int, *, some: bool = True) -> np.ndarray | None:
    """Return `candidates` as a boolean array of length n, or None if it is absent or wrong (which is noted).

    Args:
        problems: problems are noted here.
        candidates: optional boolean mask (n,), array, tensor or list.
        n: rows of the pool.
        some: whether at least one entry must be True.

    Returns:
        (n,) bool, or None.
    """
    if candidates is None:
        return None
    import torch

    mask = (
        candidates.detach().cpu().numpy() if isinstance(candidates, torch.Tensor) else np.asarray(candidates)
    )
    if mask.dtype != np.bool_ or mask.shape != (n,):
        problems.add(
            "candidates",
            f"has dtype {mask.dtype} and shape {mask.shape}; give one bool per row of features, shape ({n},)",
        )
        return None
    if some and not mask.any():
        problems.add("candidates", "is False for every row; mark at least one row that may be picked")
        return None
    return mask


def check_query_arguments(
    problems: Problems,
    features: Any,
    scores: Any,
    queries: Any,
    *,
    ridge: Any,
    score_scaling: Any,
    needs_ridge: bool,
) -> bool:
    """Note wrong shapes and combinations of the arrays; return whether shapes can be relied on."""
    shaped = check_matrix(problems, "features", features, rows="examples")
    if scores is not None and queries is not None:
        problems.add("scores, queries", "both are given; give one of them, or neither for self-compression")
    if scores is not None:
        good = check_matrix(problems, "scores", scores, rows="examples")
        if good and shaped and scores.shape[0] != features.shape[0]:
            problems.add(
                "scores",
                f"has {scores.shape[0]} rows for {features.shape[0]} rows of features; give one per row",
            )
            good = False
        if needs_ridge and ridge == 0:
            problems.add(
                "ridge",
                "got 0 with scores, for which no query exists; give ridge > 0 (or method='mp' to select)",
            )
        shaped = shaped and good
    if queries is not None:
        good = check_matrix(problems, "queries", queries, rows="embedding dimensions")
        if good and shaped and queries.shape[0] != features.shape[1]:
            problems.add(
                "queries",
                f"has {queries.shape[0]} rows for {features.shape[1]} columns of features; give d x k, "
                "one query a column",
            )
            good = False
        shaped = shaped and good
    problems.option("score_scaling", score_scaling, ("rms", "minmax", "none"))
    return shaped
