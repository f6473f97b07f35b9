"""What the pool is asked for, prepared: scores, column by column, or query embeddings. Symbols as in `prepare`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from selection.checks import Problems, first_bad_row
from selection.communicate import Alone


def row_numbers(n: int, mask: np.ndarray | None) -> np.ndarray:
    """Row numbers (int64) of the candidates."""
    return np.arange(n, dtype=np.int64) if mask is None else np.flatnonzero(mask).astype(np.int64)


def admitted_scores(problems: Problems, scores: Any, mask: np.ndarray | None) -> torch.Tensor | None:
    """Raw scores (n, k) float64 of the candidates; None where one is NaN or inf (then noted).

    Scores of rows that are not candidates are ignored, and may be NaN.
    """
    values = _as_float64(scores)
    keep = row_numbers(len(values), mask)
    values = values[torch.from_numpy(keep)]
    bad = first_bad_row(values)
    if bad is not None:
        problems.add(
            "scores",
            f"row {keep[bad]} holds NaN or inf; mark unscored rows False in candidates, or give them a score",
        )
        return None
    return values


def scale_scores(
    problems: Problems, values: torch.Tensor, scaling: str, comm: Alone, *, signed: bool
) -> torch.Tensor | None:
    """S (n, k): columns divided by their root mean square ("rms"), mapped to [0, 1] ("minmax") or left.

    Notes columns that are all zero, constant under minmax, or below zero where that is not `signed` and not
    mapped away, over all processes, and then returns None.
    """
    k, noted = values.shape[1], len(problems.messages)
    low = comm.min(values.min(dim=0).values if len(values) else torch.full((k,), torch.inf).double())
    high = comm.max(values.max(dim=0).values if len(values) else torch.full((k,), -torch.inf).double())
    for column in torch.nonzero((low == 0) & (high == 0)).reshape(-1).tolist():
        problems.add("scores", f"column {column} is all zero and asks for nothing; drop that column")
    if scaling == "minmax":
        for column in torch.nonzero((low == high) & (low != 0)).reshape(-1).tolist():
            problems.add(
                "scores",
                f"column {column} is constant ({float(low[column]):g}), which minmax cannot map to [0, 1]; "
                "drop it or use score_scaling='rms'",
            )
    elif not signed:
        below = comm.sum((values < 0).sum(dim=0).double())
        for column in torch.nonzero(below).reshape(-1).tolist():
            problems.add("scores", _negative(column, int(below[column]), float(low[column])))
    if len(problems.messages) > noted:
        return None
    if scaling == "rms":
        # By the largest value first, so that squares neither overflow nor vanish.
        values = values / torch.maximum(low.abs(), high.abs())
        count = comm.sum(torch.tensor([float(len(values))], dtype=torch.float64))
        values = values / (comm.sum(values.square().sum(dim=0)) / count).sqrt()
    elif scaling == "minmax":
        values = (values - low) / (high - low)
    return values


def _negative(column: int, count: int, lowest: float) -> str:
    return (
        f"column {column} holds {count} negative values (down to {lowest:g}); gains are squares, so the worst rows "
        "would be picked first. Larger must mean better, and 0 worth nothing: pass score_scaling='minmax' (the lowest "
        "becomes 0), or scores=shift_scores(scores) from selection.signals (the 5th percentile becomes 0, whatever "
        "the outliers); negate losses first. signed_scores=True takes them as they are"
    )


def prepare_queries(
    problems: Problems, queries: Any, mean: torch.Tensor | None, *, floor: float, normalize: bool
) -> torch.Tensor | None:
    """Q (d, k) float64: columns centred by the pool's mean row and scaled like the rows of F.

    floor: longest that a column may be that asks for nothing.
    """
    values = _as_float64(queries)
    bad = first_bad_row(values.T)
    if bad is not None:
        problems.add("queries", f"column {bad} holds NaN or inf; clean or leave out that query")
        return None
    if mean is not None:
        values = values - mean.cpu()[:, None]
    length = torch.linalg.vector_norm(values, dim=0)
    zero = torch.nonzero(length <= floor).reshape(-1)
    if len(zero):
        what = "is zero" if mean is None else "equals the pool's mean row"
        problems.add("queries", f"column {int(zero[0])} {what} and asks for nothing; leave out that query")
        return None
    return values / length if normalize else values


def _as_float64(values: Any) -> torch.Tensor:
    if isinstance(values, torch.Tensor):
        return values.detach().to(device="cpu", dtype=torch.float64, copy=True)
    return torch.from_numpy(np.array(values, dtype=np.float64, order="C"))
