"""Turn the caller's arrays into what the kernels work on: centred, scaled rows, scores and queries.

The pool is read by blocks, once for the mean row and once to write the prepared copy; blocks that have the
right dtype are read where they lie. So a memory-mapped array is never loaded whole.

Symbols (the same in every module of this package)
    n, d, k   rows of the pool, embedding dimensions, queries (one per signal)
    F         (n, d) prepared embeddings, rows f_i;  G = F^T F
    S         (n, k) prepared scores;  Q (d, k) prepared query embeddings
    lam       ridge: K = F F^T + lam I, K_ii = |f_i|^2 + lam
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from selection.checks import Problems, first_bad_row
from selection.communicate import ALONE, Alone
from selection.query import admitted_scores, prepare_queries, row_numbers, scale_scores
from selection.torch_settings import own_precision, threads

# A centred row this small against the mean row is rounding, not a direction.
_ZERO_ROW = {torch.float32: 1e-6, torch.float64: 1e-11}
# Self-compression holds fourth powers of row lengths, summed over the pool: past this they leave the dtype.
_LARGEST = {torch.float32: 1e8, torch.float64: 1e75}
# Up to this many numbers (1 GB) a pool is centred and scaled on one thread: memory is what it waits for.
_ONE_THREAD = 2**28
# Squares of entries of shorter rows vanish in float32.
_SHORT = 1e-15


@dataclass(frozen=True)
class Preparation:
    """How arrays are prepared; the fields mean what the arguments of `gip_select` of the same name mean."""

    center: bool
    normalize: bool
    score_scaling: str
    ridge: float
    dtype: torch.dtype
    device: torch.device
    signed_scores: bool = True
    scratch: str | os.PathLike[str] | None = None


@dataclass(frozen=True)
class Pool:
    """The rows that may be picked and the query, prepared. With neither scores nor queries: self-compression.

    rows: (n, d) prepared embeddings of the candidates, `float32` or `float64`.
    index: (n,) int64, the caller's row number of each.
    square: (n,) float64, squared length of each prepared row.
    gram: (d, d) float64 G over every row, candidate or not, in self-compression; else None.
    scores: (n, k) float64 or None. queries: (d, k) float64 or None. ridge: lam.
    """

    rows: torch.Tensor
    index: np.ndarray
    square: torch.Tensor
    gram: torch.Tensor | None
    scores: torch.Tensor | None
    queries: torch.Tensor | None
    ridge: float


@own_precision()
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
    workers = torch.get_num_threads()
    alone = 1 if features.shape[0] * features.shape[1] <= _ONE_THREAD else workers
    count = comm.sum(torch.tensor([float(len(features))], dtype=torch.float64))
    step = block_rows(int(count), features.shape[1])  # of the whole pool, see `distributed.shard_rows`
    with threads(alone):
        total = scan_features(problems, features, how.dtype, how.device, step)
    raw_scores = None if scores is None else admitted_scores(problems, scores, mask)
    # Collectives run on every process even where something is wrong already, so that none waits for another.
    if total is None:
        total = torch.zeros(features.shape[1], dtype=torch.float64, device=how.device)
    mean = comm.sum(total) / float(count)
    centre = mean if how.center else None
    floor = _ZERO_ROW[how.dtype] * float(mean.norm()) if how.center else 0.0
    kept_scores = kept_queries = None
    if scores is not None:
        raw_scores = torch.empty((0, scores.shape[1])).double() if raw_scores is None else raw_scores
        kept_scores = scale_scores(problems, raw_scores, how.score_scaling, comm, signed=how.signed_scores)
    if queries is not None:
        kept_queries = prepare_queries(problems, queries, centre, floor=floor, normalize=how.normalize)
    comm.agree(problems)
    compression = scores is None and queries is None
    with threads(alone):
        rows, square, gram = _prepare_rows(
            problems,
            features,
            how,
            mean=centre,
            floor=floor,
            step=step,
            mask=mask,
            gram_on=workers if compression else 0,
        )
    index = row_numbers(len(features), mask)
    _check_range(problems, how, square, index, kept_scores)
    comm.agree(problems)
    if gram is not None:
        gram = comm.sum(gram)
    return Pool(
        rows=rows,
        index=index,
        square=square,
        gram=gram,
        scores=None if kept_scores is None else kept_scores.to(how.device),
        queries=None if kept_queries is None else kept_queries.to(how.device),
        ridge=how.ridge,
    )


def _check_range(
    problems: Problems, how: Preparation, square: torch.Tensor, index: np.ndarray, scores: torch.Tensor | None
) -> None:
    """Note rows and scores so large, for want of scaling, that the kernels' products would be inf."""
    largest = _LARGEST[how.dtype]
    too_large = f"beyond {largest:g}, where its products leave {how.dtype}"
    if len(square) and float(square.max()) > largest**2:
        row = int(square.argmax())
        problems.add(
            "features",
            f"row {index[row]} is {float(square[row]) ** 0.5:.2g} long, {too_large}; "
            "pass normalize=True or scale the rows down",
        )
    if scores is not None and len(scores) and float(scores.abs().max()) > largest:
        column = int(scores.abs().amax(dim=0).argmax())
        problems.add(
            "scores",
            f"column {column} reaches {float(scores[:, column].abs().max()):.2g}, {too_large}; "
            "use score_scaling='rms' or scale the column down",
        )


def block_rows(n: int, d: int) -> int:
    """Rows a block: small against the pool, so that temporaries stay within a few per cent of its copy."""
    return int(max(64, min(8192, n // 48, 2**25 // (4 * d) + 1)))


def blocks(
    features: Any, dtype: torch.dtype, device: torch.device, step: int
) -> Iterator[tuple[int, torch.Tensor]]:
    """Blocks of `step` consecutive rows of a numpy array, memory map or tensor, contiguous, with their start row.

    A block may be the caller's own memory: it must not be changed.
    """
    n = len(features)
    number = {torch.float32: np.float32, torch.float64: np.float64}[dtype]
    for start in range(0, n, step):
        part = features[start : start + step]
        if isinstance(part, torch.Tensor):
            yield start, part.detach().to(device=device, dtype=dtype).contiguous()
        else:
            with np.errstate(over="ignore"):  # a value beyond float32 becomes inf and is reported as such
                block = np.ascontiguousarray(part, dtype=number)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
                yield start, torch.from_numpy(block).to(device)


def scan_features(
    problems: Problems, features: Any, dtype: torch.dtype, device: torch.device, step: int
) -> torch.Tensor | None:
    """Sum of the rows (d,) in float64; notes the first row that holds NaN or inf and then returns None."""
    d = features.shape[1]
    total = torch.zeros(d, dtype=torch.float64, device=device)
    for start, block in blocks(features, dtype, device, step):
        part = block.sum(dim=0)  # a finite sum proves every term finite
        if not bool(torch.isfinite(part).all()):
            bad = first_bad_row(block)
            if bad is not None:
                problems.add(
                    "features",
                    f"row {start + bad} holds NaN or inf (as {dtype}); clean or leave out that row",
                )
                return None
            part = block.sum(dim=0, dtype=torch.float64)  # only the sum was too large
        total += part
    return total


def _prepare_rows(
    problems: Problems,
    features: Any,
    how: Preparation,
    *,
    mean: torch.Tensor | None,
    floor: float,
    step: int,
    mask: np.ndarray | None,
    gram_on: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Prepared candidates (n, d), squared lengths (n,) and, where asked for, G (d, d) over every row.

    floor: longest that a row may be that has no direction. step: rows a block. gram_on: threads to compute G on; 0: no G.
    """
    kept = len(features) if mask is None else int(mask.sum())
    d = features.shape[1]
    rows = _empty(kept, d, how)
    # Exactly 1 for rows of unit length: the rounding of their scaling must not break ties.
    square = torch.ones(kept, dtype=torch.float64, device=how.device)
    gram = torch.zeros((d, d), dtype=torch.float64, device=how.device)
    offset = torch.zeros(d, device=how.device) if mean is None else mean
    offset = offset.to(how.dtype)
    filled = 0
    for start, raw in blocks(features, how.dtype, how.device, step):
        block = torch.empty_like(raw) if mask is not None else rows[start : start + len(raw)]
        torch.sub(raw, offset, out=block)
        if how.normalize and not _scale_to_unit_length(
            problems, block, start, floor, centred=mean is not None
        ):
            break
        if gram_on:
            with threads(gram_on):
                add_gram(gram, block)
        stop = filled + len(block)
        if mask is not None:
            admitted = block[torch.from_numpy(mask[start : start + len(block)]).to(how.device)]
            stop = filled + len(admitted)
            rows[filled:stop] = admitted
        if not how.normalize:
            square[filled:stop] = torch.linalg.vector_norm(rows[filled:stop], dim=1, dtype=torch.float64) ** 2
        filled = stop
    return rows, square, mirrored(gram) if gram_on else None


def _empty(n: int, d: int, how: Preparation) -> torch.Tensor:
    """Space for n prepared rows: in memory, or mapped to a file without a name, which ends with the tensor."""
    if how.scratch is None:
        return torch.empty((n, d), dtype=how.dtype, device=how.device)
    with tempfile.NamedTemporaryFile(dir=how.scratch) as file:
        return torch.from_file(file.name, shared=True, size=n * d, dtype=how.dtype).view(n, d)


def add_gram(gram: torch.Tensor, block: torch.Tensor) -> None:
    """Gram (d, d) += block^T block, on and above the diagonal, by strips of columns."""
    d = len(gram)
    strip = max(64, -(-d // 4))
    for start in range(0, d, strip):
        stop = min(d, start + strip)
        gram[:stop, start:stop] += block[:, :stop].T @ block[:, start:stop]


def mirrored(gram: torch.Tensor) -> torch.Tensor:
    """The symmetric matrix with this part on and above its diagonal."""
    return gram.triu() + gram.triu(1).T


def _scale_to_unit_length(
    problems: Problems, block: torch.Tensor, start: int, floor: float, *, centred: bool
) -> bool:
    length = torch.linalg.vector_norm(block, dim=1)
    if float(length.min()) < _SHORT or not bool(length.isfinite().all()):
        length = torch.linalg.vector_norm(block, dim=1, dtype=torch.float64)
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
