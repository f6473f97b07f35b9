"""Self-compression as one number per row: how strongly the direction of a row is present in the data set.

Symbols: F (n x d) prepared embeddings, rows f_i; G = F^T F. GIP with the data set as its own query (`gip_select`
with neither scores nor queries) starts from h_i = f_i^T G f_i, the sum of the squared correlations of row i with
every row. Here it is divided by n, which gives the mean, in [0, 1] for rows of unit length.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from selection.checks import Problems, check_matrix
from selection.prepare import Preparation, prepare

_BLOCK = 4096
_ROUNDING = 1e-6  # of float32 rows, relative


def self_compression(features: Any, *, center: bool = True, normalize: bool = True) -> np.ndarray:
    """Compute h_i / n of every row.

    Args:
        features: (n, d) array, memory-mapped array or tensor, prepared as by `gip_select`.
        center: subtract the mean row of the pool.
        normalize: then scale rows to unit length.

    Returns:
        (n,) float64; all the same number where they differ by rounding alone.

    Raises:
        ValueError: naming what cannot be prepared: not 2-d, NaN or inf, or a row without a direction under
            `normalize`.

    Example:
        >>> self_compression(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), center=False).round(2).tolist()
        [0.67, 0.67, 0.33]
    """
    problems = Problems()
    check_matrix(problems, "features", features)
    problems.raise_if_any()
    how = Preparation(center, normalize, "none", 0.0, torch.float32, torch.device("cpu"))
    pool = prepare(problems, features, how, scores=None, queries=None, mask=None)
    assert pool.gram is not None  # always computed if the data set is its own query
    n = len(pool.rows)
    scores = np.empty(n)
    for start in range(0, n, _BLOCK):
        block = pool.rows[start : start + _BLOCK].double()
        scores[start : start + _BLOCK] = ((block @ pool.gram) * block).sum(dim=1).numpy() / n
    if np.ptp(scores) <= _ROUNDING * scores.max():
        scores[:] = scores[0]  # what is left of rounding differs between processors, and would rank the rows
    return scores
