"""Converting rows in memory (a list, a Dataset, a DataFrame, an Arrow table) or in files to examples."""

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from gip_exp.data.rows import (
    Placed,
    Reading,
    dataset_rows,
    find_files,
    find_layout,
    placed,
    read_examples,
    read_files,
)
from gip_exp.errors import UserError


def as_examples(
    data: Any,
    *,
    shape: str = "auto",
    columns: Mapping[str, str | list[str]] | None = None,
    drop_empty: bool = False,
) -> Reading:
    """Convert rows of any known shape to examples.

    Args:
        data: A list of dicts, a `datasets.Dataset`, a `DatasetDict` (its training split), a pandas or polars DataFrame,
            a `pyarrow.Table`, or a path as in `data.path`.
        shape: Name of a shape, or `auto`.
        columns: The columns of `prompt`, `completion`, `conversation`, `system`, ..., if they are not detected by name.
        drop_empty: Leave out rows without a completion; otherwise they are broken rows.

    Returns:
        The examples in the order of the rows, and the broken and empty rows.

    Raises:
        UserError: The rows cannot be read, or their shape is unclear.

    >>> reading = as_examples([{"question": "1+1?", "answer": 2}])
    >>> reading.examples
    [{'id': 'train-000000', 'prompt': '1+1?', 'completion': '2'}]
    """
    table = table_rows(data)
    layout = find_layout(table, "the data", shape, columns)
    return read_examples(table, layout, "train", drop_empty=drop_empty)


def table_rows(data: Any) -> list[Placed]:
    """Return the rows of a table in memory or in files, with their places."""
    if isinstance(data, str | PathLike):
        return list(read_files(find_files(Path(data)).train))
    if isinstance(data, Mapping) and "train" in data:  # a DatasetDict
        data = data["train"]
    found = list(placed(_listed(data)))
    if not found:
        raise UserError("the data has no rows: give at least one")
    return found


def frame_rows(data: Any) -> list[Any] | None:
    """Return the rows of a pandas or polars DataFrame or a `pyarrow.Table` as Python values; None for other data."""
    if type(data).__module__.startswith("pandas") and hasattr(data, "to_dict"):
        return [_python(row) for row in data.to_dict("records")]
    for method in ("to_dicts", "to_pylist"):  # polars, pyarrow
        if hasattr(data, method):
            return list(getattr(data, method)())
    return None


def _listed(data: Any) -> Iterable[Any]:
    if hasattr(data, "with_format"):  # a Dataset
        return dataset_rows(data)
    if (rows := frame_rows(data)) is not None:
        return rows
    if isinstance(data, Mapping) or not isinstance(data, Iterable):
        raise UserError(
            f"the data is a {type(data).__name__}: give a list of dicts, a Dataset, a DataFrame, an Arrow table or a path"
        )
    return data


def _python(value: Any) -> Any:
    """Convert NumPy arrays, which a DataFrame has for lists, to lists."""
    if isinstance(value, Mapping):
        return {key: _python(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_python(item) for item in value]
    return _python(value.tolist()) if type(value).__module__ == "numpy" else value
