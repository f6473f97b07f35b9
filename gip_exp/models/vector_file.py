"""Embeddings that the user has already computed, one vector per row of the data."""

from pathlib import Path

import numpy as np

from gip_exp.errors import UserError


def missing(path: Path | None) -> list[str]:
    """Return what is wrong with the file, as far as its header tells."""
    if path is None:
        return ["embedder=file needs embedder.path=FILE.npy, an array (rows of the data, dimensions)"]
    if not path.is_file():
        return [f"embedder.path={path} is not a file: give an array saved by numpy.save"]
    try:
        _opened(path)
    except UserError as error:
        return [str(error)]
    return []


def read(path: Path, source_rows: np.ndarray, n_source: int) -> np.ndarray:
    """Return the vectors of the pool.

    Args:
        path: `.npy` file with an array (n_source, d) of numbers.
        source_rows: (n,) numbers of the pool's rows in the data, from 1.
        n_source: Rows of the data, with those that are left out of the pool.

    Returns:
        (n, d) float32.

    Raises:
        UserError: the file has another number of vectors than the data has rows.
    """
    vectors = _opened(path)
    if len(vectors) != n_source:
        raise UserError(
            f"embedder.path={path} has {len(vectors):,} vectors, but the data has {n_source:,} rows (rows that are left out "
            "count too): give one vector per row, in the order of the rows"
        )
    return np.asarray(vectors[source_rows - 1], dtype=np.float32)


def _opened(path: Path) -> np.ndarray:
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"embedder.path={path} is not an array saved by numpy.save ({error})") from None
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        kind = f"{vectors.dtype} {vectors.shape}" if isinstance(vectors, np.ndarray) else "several arrays"
        raise UserError(f"embedder.path={path} holds {kind}: give numbers of the shape (rows, dimensions)")
    return vectors
