"""Rows in Arrow columns: collected in memory, written to a file, and read from it memory-mapped.

A million rows take the memory of their text, and none of it once they are on disk; a row becomes a dict when it is
looked at.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from gip_exp.storage.files import replacing

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

BATCH = 4096  # rows
AS_JSON = {b"json": b"1"}  # metadata of columns whose values are not plain text


class RowTable(Sequence[dict[str, Any]]):
    """Rows as a sequence of dicts. A value that a row does not have is null in its column, and absent in its dict.

    Example:
        >>> table = collected([{"id": "a", "turns": [1, 2]}, {"id": "b"}], ("id",), ("turns",))
        >>> table[0], table[1:].ids, len(table)
        ({'id': 'a', 'turns': [1, 2]}, ['b'], 2)
    """

    def __init__(self, table: "pa.Table") -> None:
        self.table = table
        self._encoded = frozenset(field.name for field in table.schema if field.metadata)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @overload
    def __getitem__(self, at: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, at: slice) -> "RowTable": ...
    def __getitem__(self, at: int | slice) -> "dict[str, Any] | RowTable":
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            if step == 1:
                return RowTable(self.table.slice(start, max(0, stop - start)))
            return self.take(range(start, stop, step))
        row = range(len(self))[at]  # negative numbers, and IndexError
        return self._row([column[row].as_py() for column in self.table.columns])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self.table.to_batches(max_chunksize=BATCH):
            for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield self._row(cells)

    def _row(self, cells: Iterable[str | None]) -> dict[str, Any]:
        return {
            name: json.loads(cell) if name in self._encoded else cell
            for name, cell in zip(self.table.column_names, cells, strict=True)
            if cell is not None
        }

    @property
    def ids(self) -> list[str]:
        """The ids of the rows."""
        ids: list[str] = self.table["id"].to_pylist()
        return ids

    def take(self, rows: "Iterable[int] | np.ndarray") -> "RowTable":
        """Return a copy of these rows, in this order."""
        import pyarrow as pa

        return RowTable(self.table.take(pa.array(rows, type=pa.int64())))

    def write(self, path: Path) -> None:
        """Write the rows to an Arrow file atomically."""
        import pyarrow as pa

        with replacing(path) as stream, pa.ipc.new_file(stream, self.table.schema) as writer:
            writer.write_table(self.table, max_chunksize=BATCH)


def read_table(path: Path) -> RowTable:
    """Map a file of `RowTable.write` into memory."""
    import pyarrow as pa

    return RowTable(pa.ipc.open_file(pa.memory_map(str(path))).read_all())


def collected(
    rows: Iterable[Mapping[str, Any]], texts: Sequence[str], values: Sequence[str] = ()
) -> RowTable:
    """Collect rows with these columns, of which `texts` hold text without unpaired surrogates and `values` any JSON."""
    collector = Collector(texts, values)
    for row in rows:
        collector.append(row)
    return collector.table()


class Collector:
    """Collects rows one by one; see `collected`."""

    def __init__(self, texts: Sequence[str], values: Sequence[str] = ()) -> None:
        import pyarrow as pa

        fields = [pa.field(name, pa.large_string()) for name in texts]
        fields += [pa.field(name, pa.large_string(), metadata=AS_JSON) for name in values]
        self._schema = pa.schema(fields)
        self._texts, self._values = texts, values
        self._batches: list[pa.RecordBatch] = []
        self._columns: list[list[str | None]] = [[] for _ in fields]

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row; other columns are ignored."""
        n_texts = len(self._texts)
        for column, name in zip(self._columns[:n_texts], self._texts, strict=True):
            column.append(row.get(name))
        for column, name in zip(self._columns[n_texts:], self._values, strict=True):
            column.append(json.dumps(row[name]) if name in row else None)
        if len(self._columns[0]) == BATCH:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        arrays = [pa.array(column, type=pa.large_string()) for column in self._columns]
        self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        for column in self._columns:
            column.clear()

    def table(self) -> RowTable:
        """Return the rows collected so far."""
        import pyarrow as pa

        if self._columns[0]:
            self._flush()
        return RowTable(pa.Table.from_batches(self._batches, schema=self._schema))
