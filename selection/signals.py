"""Signals as data: a table with one row per example and one named column per signal, stored as parquet.

Everything that produces numbers per example (the attributes of a judge, self-consistency, metadata) writes
such a table, and selection reads it. NaN means "not scored"; `scored` is the mask for `gip_select(candidates=...)`.

    table = read_signals("judge.parquet").aligned(pool_ids)
    gip_select(features, 0.1, scores=table.values, candidates=table.scored)
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from selection.checks import Problems

ID_COLUMN = "id"


@dataclass(frozen=True, eq=False)
class SignalTable:
    """A table of signals; values cannot be changed.

    Attributes:
        ids: n distinct strings.
        names: k distinct column names.
        values: (n, k) float64, NaN where not scored.

    Raises:
        ValueError: naming everything that is wrong with the arguments.

    Example:
        >>> table = SignalTable(("a", "b"), ("accuracy",), np.array([[5.0], [np.nan]]))
        >>> table.scored.tolist()
        [True, False]
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    values: np.ndarray

    def __post_init__(self) -> None:
        ids = tuple(str(i) for i in self.ids)
        names = tuple(self.names)
        values = np.array(self.values, dtype=np.float64)
        problems = Problems()
        if values.shape != (len(ids), len(names)):
            problems.add(
                "values",
                f"has shape {values.shape}; give ids x names = ({len(ids)}, {len(names)})",
            )
        elif np.isinf(values).any():
            row, column = np.argwhere(np.isinf(values))[0]
            problems.add(
                "values", f"row {row} ({ids[row]!r}), column {names[column]!r} is inf; give a number or NaN"
            )
        _check_distinct(problems, "ids", ids)
        _check_distinct(problems, "names", names)
        if not ids or not names:
            problems.add(
                "ids, names", f"got {len(ids)} rows and {len(names)} columns; give at least one each"
            )
        if ID_COLUMN in names:
            problems.add(
                "names", f"{ID_COLUMN!r} is the name of the id column; call the signal something else"
            )
        problems.raise_if_any()
        values.flags.writeable = False
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "values", values)

    @property
    def scored(self) -> np.ndarray:
        """(n,) bool: rows for which every column holds a number."""
        return ~np.isnan(self.values).any(axis=1)

    def column(self, name: str) -> np.ndarray:
        """Return one column, (n,) float64; ValueError if there is no such column."""
        return self.columns([name]).values[:, 0]

    def columns(self, names: Sequence[str]) -> SignalTable:
        """Return the table with these columns only, in this order; ValueError names missing columns."""
        missing = [name for name in names if name not in self.names]
        if missing:
            raise ValueError(f"names: {missing} not in the table; it has {', '.join(self.names)}")
        return SignalTable(self.ids, tuple(names), self.values[:, [self.names.index(name) for name in names]])

    def prefixed(self, prefix: str) -> SignalTable:
        """Return the table with `prefix/` before every column name, so that names in a mixture stay distinct."""
        return SignalTable(self.ids, tuple(f"{prefix}/{name}" for name in self.names), self.values)

    def aligned(self, ids: Sequence[str], *, missing: str = "error") -> SignalTable:
        """Return the rows of `ids` in their order; other rows are left out.

        Args:
            ids: the ids wanted.
            missing: "error" raises for an id without a row, "unscored" gives it NaN.

        Returns:
            A table with one row per id.

        Raises:
            ValueError: an id has no row, or `missing` is neither.
        """
        wanted = [str(i) for i in ids]
        place = {name: row for row, name in enumerate(self.ids)}
        absent = [i for i in wanted if i not in place]
        if missing not in ("error", "unscored"):
            raise ValueError(f"missing: got {missing!r}; choose one of error, unscored")
        if absent and missing == "error":
            raise ValueError(
                f"ids: {len(absent)} have no row in the table, the first is {absent[0]!r}; "
                "add them or pass missing='unscored'"
            )
        values = np.full((len(wanted), len(self.names)), np.nan)
        for target, name in enumerate(wanted):
            if name in place:
                values[target] = self.values[place[name]]
        return SignalTable(tuple(wanted), self.names, values)


@dataclass(frozen=True)
class Reduced:
    """A table without its constant columns.

    Attributes:
        table: the remaining columns.
        dropped: constant value of each column left out; NaN for a column without a single number.
    """

    table: SignalTable
    dropped: dict[str, float]


def drop_constant_columns(table: SignalTable) -> Reduced:
    """Leave out columns with a single value: they do not distinguish any examples.

    Args:
        table: the table.

    Returns:
        Reduced.

    Raises:
        ValueError: nothing would be left.

    Example:
        >>> table = SignalTable(("a", "b"), ("accuracy", "length"), np.array([[5.0, 1.0], [5.0, 2.0]]))
        >>> drop_constant_columns(table).dropped
        {'accuracy': 5.0}
    """
    dropped: dict[str, float] = {}
    for name, column in zip(table.names, table.values.T, strict=True):
        numbers = column[~np.isnan(column)]
        if not len(numbers) or numbers.min() == numbers.max():
            dropped[name] = float(numbers[0]) if len(numbers) else float("nan")
    kept = [name for name in table.names if name not in dropped]
    if not kept:
        raise ValueError(
            f"table: every column is constant ({dropped}), so there is no signal to select by; add one"
        )
    return Reduced(table.columns(kept), dropped)


def mixture(
    tables: Sequence[SignalTable], weights: Mapping[str, float] | None = None, *, scaling: str = "rms"
) -> SignalTable:
    """Join the columns of several tables, each scaled and then multiplied by its weight.

    Pass the result to `gip_select` with `score_scaling="none"`; any other scaling would undo the weights.

    Args:
        tables: tables with the same ids in any order (that of the first is kept) and different column names.
        weights: weight > 0 of a column by name, default 1.
        scaling: "rms" divides a column by the root mean square of its numbers, "none" does not.

    Returns:
        SignalTable.

    Raises:
        ValueError: naming everything that is wrong with the arguments.

    Example:
        >>> judge = SignalTable(("a", "b"), ("accuracy",), np.array([[3.0], [4.0]]))
        >>> length = SignalTable(("b", "a"), ("length",), np.array([[7.0], [7.0]]))
        >>> mixture([judge, length], {"length": 0.5}).column("length").tolist()
        [0.5, 0.5]
    """
    weights = dict(weights or {})
    problems = Problems()
    names = [name for table in tables for name in table.names]
    if not tables:
        problems.add("tables", "is empty; give at least one table")
    _check_distinct(problems, "tables: column names", tuple(names))
    for number, table in enumerate(tables[1:], start=1):
        if set(table.ids) != set(tables[0].ids):
            problems.add("tables", f"table {number} has other ids than table 0; align them first")
    for name, weight in weights.items():
        if name not in names:
            problems.add("weights", f"names column {name!r}; the tables have {', '.join(names)}")
        problems.number(f"weights[{name!r}]", weight, above=True)
    problems.option("scaling", scaling, ("rms", "none"))
    problems.raise_if_any()
    values = np.hstack([table.aligned(tables[0].ids).values for table in tables])
    if scaling == "rms":
        values = values / np.array([_root_mean_square(column) for column in values.T])
    values = values * np.array([weights.get(name, 1.0) for name in names])
    return SignalTable(tables[0].ids, tuple(names), values)


def score_zeros(scores: np.ndarray, *, share: float = 0.05) -> np.ndarray:
    """The value of each column that should count as nothing, for scores of which some are negative: (k,).

    scores: (n, k), larger is better, NaN where not scored. share: quantile of a column that becomes its zero, so
    that a few outliers (-999 for "missing") do not set the scale. A column without negative values keeps 0;
    where the quantile is the column's highest value, the lowest value is taken instead.

    Example:
        >>> score_zeros(np.array([[-3.0], [-2.0], [-1.0]]), share=0.5).tolist()
        [-2.0]
    """
    low, zero, high = np.nanquantile(scores, [0.0, share, 1.0], axis=0)
    zero = np.where(zero < high, zero, low)
    return np.where(low < 0, np.minimum(zero, 0.0), 0.0)


def shift_scores(scores: np.ndarray, *, share: float = 0.05) -> np.ndarray:
    """Scores without negative values, for `gip_select`: max(score - zero, 0) with `score_zeros`; (n, k) float64.

    Columns that have no negative values come back unchanged, NaN stays NaN.

    Example:
        >>> shift_scores(np.array([[-3.0, 1.0], [-2.0, 2.0], [-1.0, 3.0]]), share=0.5).tolist()
        [[0.0, 1.0], [0.0, 2.0], [1.0, 3.0]]
    """
    return np.maximum(scores - score_zeros(scores, share=share), 0.0)


def write_signals(table: SignalTable, path: str | os.PathLike[str]) -> Path:
    """Write a table as parquet: column `id` (string), then one float64 column per signal, null where NaN.

    The file is written under a temporary name and renamed, so it is never incomplete.

    Args:
        table: the table.
        path: the file; folders are created.

    Returns:
        The path.

    Example:
        >>> import tempfile
        >>> table = SignalTable(("a",), ("accuracy",), np.array([[5.0]]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     read_signals(write_signals(table, f"{folder}/scores.parquet")).names
        ('accuracy',)
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    columns = [pa.array(table.ids, type=pa.string())]
    columns += [pa.array(column, type=pa.float64(), from_pandas=True) for column in table.values.T]
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        pq.write_table(pa.table(columns, names=[ID_COLUMN, *table.names]), partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def read_signals(path: str | os.PathLike[str], names: Sequence[str] | None = None) -> SignalTable:
    """Read a table written by `write_signals`, or any parquet file with an `id` column and numeric columns.

    Args:
        path: the file.
        names: the columns to read; default all.

    Returns:
        SignalTable.

    Raises:
        ValueError: naming the file and what it lacks.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = f"{folder}/scores.parquet"
        ...     pq.write_table(pa.table({"id": ["a", "b"], "quality": [1, None]}), path)
        ...     read_signals(path).scored.tolist()
        [True, False]
    """
    source = Path(path)
    if not source.is_file():
        raise ValueError(f"path: {source} is not a file; give a parquet file with an {ID_COLUMN!r} column")
    try:
        data = pq.read_table(source)
    except pa.ArrowInvalid as error:
        raise ValueError(f"path: {source} cannot be read as parquet ({error})") from None
    if ID_COLUMN not in data.column_names:
        raise ValueError(f"path: {source} has no column {ID_COLUMN!r}; it has {', '.join(data.column_names)}")
    wanted = [name for name in data.column_names if name != ID_COLUMN] if names is None else list(names)
    problems = Problems()
    for name in wanted:
        if name not in data.column_names:
            problems.add("names", f"{source} has no column {name!r}; it has {', '.join(data.column_names)}")
        elif not _is_number(data.schema.field(name).type):
            problems.add(
                "names", f"{source}: column {name!r} is {data.schema.field(name).type}, not a number"
            )
    problems.raise_if_any()
    columns = [data.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False) for name in wanted]
    ids = tuple(str(value) for value in data.column(ID_COLUMN).to_pylist())
    return SignalTable(ids, tuple(wanted), np.column_stack(columns) if columns else np.empty((len(ids), 0)))


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)


def _root_mean_square(column: np.ndarray) -> float:
    numbers = column[~np.isnan(column)]
    size = float(np.sqrt((numbers**2).mean())) if len(numbers) else 0.0
    return size if size > 0 else 1.0


def _check_distinct(problems: Problems, argument: str, values: tuple[str, ...]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            problems.add(argument, f"{value!r} appears twice; every one must be different")
            return
        seen.add(value)
