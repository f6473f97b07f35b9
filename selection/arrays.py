"""Whatever holds a table of numbers, as an array: lists, data frames, series, columns of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def as_matrix(value: Any, *, column: bool = False) -> Any:
    """Return the numbers in `value` as an array; anything else, arrays and tensors too, as it is.

    Args:
        value: nested lists, a pandas DataFrame or Series (of numbers or of arrays), a column of `datasets`.
        column: whether n numbers are one column, (n, 1).

    Returns:
        The same object if it is an array, a tensor or nothing that can be one; else a numpy array.

    Example:
        >>> as_matrix([[1, 2], [3, 4]]).shape, as_matrix([1.0, 2.0, 3.0], column=True).shape
        ((2, 2), (3, 1))
    """
    found = value
    if hasattr(value, "to_numpy"):
        found = value.to_numpy()
        if found.dtype == object:  # a series of vectors
            found = _stacked(list(found), value)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        found = _stacked(list(value), value)
    return found.reshape(-1, 1) if column and getattr(found, "ndim", 0) == 1 else found


def _stacked(rows: list[Any], given: Any) -> Any:
    """Return rows of equal length as an array; `given` if they are no numbers or have several lengths."""
    try:
        found = np.array(rows)
    except ValueError:
        return given
    return found if found.dtype.kind in "fiu" else given
