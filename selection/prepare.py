"""Turn the caller's arrays into what the kernels work on: centred, scaled rows, scores and queries.

The pool is read by blocks and written once into one prepared copy, so a memory-mapped array is never loaded
whole.

Symbols (the same in every module of this package)
    n, d, k   rows of the pool, embedding dimensions, queries (one per signal)
    F         (n, d) prepared embeddings, rows f_i;  G = F^T F
    S         (n, k) prepared scores;  Q (d, k) prepared query embeddings
    lam       ridge: K = F F^T + lam I, K_ii = |f_i|^2 + lam
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from selection.checks import Problems, first_bad_row
from selection.communicate import ALONE, Alone

# A centred row this small against the mean row is rounding, not a direction.
_ZERO_ROW = {torch.float32: 1e-6, torch.float64: 1e-11}


@dataclass(frozen=True)
class Preparation:
    """How arrays are prepared; the fields mean what the arguments of `gip_select` of the same name mean."""

    center: bool
    normalize: bool
    score_scaling: str
    ridge: float
    dtype: torch.dtype
    device: torch.device


@dataclass(frozen=True)
class Pool:
    """The rows that may be picked and the query, prepared. With neither scores nor queries: self-compression.

    rows: (n, d) prepared embeddings of the candidates, `float32` or `float64`.
    index: (n,) int64, the caller's row number of each.
    square: (n,) float64, squared length of each prepared row.
    gram: (d, d) float64 G: over the candidates with scores, over every row in self-compression; else None.
    scores: (n, k) float64 or None. queries: (d, k) float64 or None. ridge: lam.
    """

    rows: torch.Tensor
    index: np.ndarray
    square: torch.Tensor
    gram: torch.Tensor | None
    scores: torch.Tensor | None
    queries: torch.Tensor | None
    ridge: float


def prepare(
    problems: Problems,
    features: Any,
    how: Preparation,
    *,
    scores: Any,
    queries: Any,
    mask: np.ndarray | None,
    comm: Alone = ALONE,
) -> Pool:
    """Prepare arrays whose shapes were checked; one ValueError for all that is wrong with their values.

    features, scores and mask are this process's shard; queries are the same on every process of `comm`.
    """
    total = scan_features(problems, features, how.dtype, how.device)
    raw_scores = None if scores is None else admitted_scores(problems, scores, mask)
    # Collectives run on every process even where something is wrong already, so that none waits for another.
    if total is None:
        total = torch.zeros(features.shape[1], dtype=torch.float64, device=how.device)
    count = comm.sum(torch.tensor([float(len(features))], dtype=torch.float64))
    mean = comm.sum(total) / float(count)
    centre = mean if how.center else None
    kept_scores = kept_queries = None
    if scores is not None:
        raw_scores = torch.empty((0, scores.shape[1])).double() if raw_scores is None else raw_scores
        kept_scores = scale_scores(problems, raw_scores, how.score_scaling, comm)
    if queries is not None:
        kept_queries = prepare_queries(problems, queries, centre, how)
    comm.agree(problems)
    if kept_queries is not None:
        gram_over = "none"
    elif kept_scores is not None:
        gram_over = "candidates" if how.ridge > 0 else "none"
    else:
        gram_over = "all"
    rows, square, gram = _prepare_rows(problems, features, how, mean=centre, mask=mask, gram_over=gram_over)
    comm.agree(problems)
    if gram is not None:
        gram = comm.sum(gram)
    index = np.arange(len(features)) if mask is None else np.flatnonzero(mask)
    return Pool(
        rows=rows,
        index=index.astype(np.int64),
        square=square,
        gram=gram,
        scores=None if kept_scores is None else kept_scores.to(how.device),
        queries=None if kept_queries is None else kept_queries.to(how.device),
        ridge=how.ridge,
    )


def block_rows(n: int, d: int) -> int:
    """Rows a block: small against the pool, so that temporaries stay within a few per cent of its copy."""
    return int(max(64, min(8192, n // 48, 2**25 // (4 * d) + 1)))


def blocks(features: Any, dtype: torch.dtype, device: torch.device) -> Iterator[tuple[int, torch.Tensor]]:
    """Fresh copies of consecutive row blocks of a numpy array, memory map or tensor, with their start row."""
    n, d = features.shape
    step = block_rows(n, d)
    number = {torch.float32: np.float32, torch.float64: np.float64}[dtype]
    for start in range(0, n, step):
        part = features[start : start + step]
        if isinstance(part, torch.Tensor):
            yield start, part.detach().to(device=device, dtype=dtype, copy=True)
        else:
            with np.errstate(over="ignore"):  # a value beyond float32 becomes inf and is reported as such
                yield start, torch.from_numpy(np.array(part, dtype=number, order="C")).to(device)


def scan_features(
    problems: Problems, features: Any, dtype: torch.dtype, device: torch.device
) -> torch.Tensor | None:
    """Sum of the rows (d,) in float64; notes the first row that holds NaN or inf and then returns None."""
    d = features.shape[1]
    total = torch.zeros(d, dtype=torch.float64, device=device)
    for start, block in blocks(features, dtype, device):
        bad = first_bad_row(block)
        if bad is not None:
            problems.add(
                "features", f"row {start + bad} holds NaN or inf (as {dtype}); clean or leave out that row"
            )
            return None
        total += block.sum(dim=0, dtype=torch.float64)
    return total


def _prepare_rows(
    problems: Problems,
    features: Any,
    how: Preparation,
    *,
    mean: torch.Tensor | None,
    mask: np.ndarray | None,
    gram_over: str,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Prepared candidates (n, d), squared lengths (n,) and G (d, d) over "all", "candidates" or "none"."""
    kept = len(features) if mask is None else int(mask.sum())
    d = features.shape[1]
    rows = torch.empty((kept, d), dtype=how.dtype, device=how.device)
    # Exactly 1 for rows of unit length: the rounding of their scaling must not break ties.
    square = torch.ones(kept, dtype=torch.float64, device=how.device)
    gram = torch.zeros((d, d), dtype=torch.float64, device=how.device)
    offset = None if mean is None else mean.to(how.dtype)
    floor = 0.0 if mean is None else _ZERO_ROW[how.dtype] * float(mean.norm())
    filled = 0
    for start, fresh in blocks(features, how.dtype, how.device):
        block = fresh if offset is None else fresh.sub_(offset)
        if how.normalize and not _scale_to_unit_length(
            problems, block, start, floor, centred=offset is not None
        ):
            break
        if gram_over == "all":
            gram += block.T @ block
        admitted = block
        if mask is not None:
            admitted = block[torch.from_numpy(mask[start : start + len(block)]).to(how.device)]
        if gram_over == "candidates":
            gram += admitted.T @ admitted
        stop = filled + len(admitted)
        rows[filled:stop] = admitted
        if not how.normalize:
            square[filled:stop] = torch.linalg.vector_norm(admitted, dim=1, dtype=torch.float64) ** 2
        filled = stop
    return rows, square, None if gram_over == "none" else gram


def _scale_to_unit_length(
    problems: Problems, block: torch.Tensor, start: int, floor: float, *, centred: bool
) -> bool:
    length = torch.linalg.vector_norm(block, dim=1)
    zero = torch.nonzero(length <= floor).reshape(-1)
    if len(zero):
        what = "equals the pool's mean row" if centred else "is zero"
        problems.add(
            "features",
            f"row {start + int(zero[0])} {what}, so it has no direction to scale to unit length; "
            "leave that row out or pass normalize=False",
        )
        return False
    block /= length[:, None]
    return True


def admitted_scores(problems: Problems, scores: Any, mask: np.ndarray | None) -> torch.Tensor | None:
    """Raw scores (n, k) float64 of the candidates; None where one is NaN or inf (then noted).

    Scores of rows that are not candidates are ignored, and may be NaN.
    """
    values = _as_float64(scores)
    keep = np.arange(len(values)) if mask is None else np.flatnonzero(mask)
    values = values[torch.from_numpy(keep)]
    bad = first_bad_row(values)
    if bad is not None:
        problems.add(
            "scores",
            f"row {keep[bad]} holds NaN or inf; mark unscored rows False in candidates, or give them a score",
        )
        return None
    return values


def scale_scores(problems: Problems, values: torch.Tensor, scaling: str, comm: Alone) -> torch.Tensor | None:
    """S (n, k): columns divided by their root mean square ("rms"), mapped to [0, 1] ("minmax") or left.

    Notes columns that are all zero, or constant under minmax, over all processes, and then returns None.
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


def prepare_queries(
    problems: Problems, queries: Any, mean: torch.Tensor | None, how: Preparation
) -> torch.Tensor | None:
    """Q (d, k) float64: columns centred by the pool's mean row and scaled like the rows of F."""
    values = _as_float64(queries)
    bad = first_bad_row(values.T)
    if bad is not None:
        problems.add("queries", f"column {bad} holds NaN or inf; clean or leave out that query")
        return None
    if mean is not None:
        values = values - mean.cpu()[:, None]
    length = torch.linalg.vector_norm(values, dim=0)
    floor = 0.0 if mean is None else _ZERO_ROW[how.dtype] * float(mean.norm())
    zero = torch.nonzero(length <= floor).reshape(-1)
    if len(zero):
        what = "is zero" if mean is None else "equals the pool's mean row"
        problems.add("queries", f"column {int(zero[0])} {what} and asks for nothing; leave out that query")
        return None
    return values / length if how.normalize else values


def _as_float64(values: Any) -> torch.Tensor:
    if isinstance(values, torch.Tensor):
        return values.detach().to(device="cpu", dtype=torch.float64, copy=True)
    return torch.from_numpy(np.array(values, dtype=np.float64, order="C"))
