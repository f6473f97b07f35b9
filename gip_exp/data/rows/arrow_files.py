"""Reading parquet and Arrow files, and folders written by `datasets.save_to_disk`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gip_exp.errors import UserError


def read_parquet(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (place, row) of every row of a parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        yield from _placed(pq.ParquetFile(path).iter_batches(), path)
    except pa.ArrowInvalid as error:
        raise UserError(
            f"{path}: not a parquet file ({error}): write it again, or correct its ending"
        ) from None


def read_arrow(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (place, row) of every row of an Arrow file, in the stream format (used by `datasets`) or the file format."""
    import pyarrow as pa

    try:
        with pa.OSFile(str(path)) as source:
            try:
                reader = pa.ipc.open_file(source)
                batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
            except pa.ArrowInvalid:
                source.seek(0)
                batches = iter(pa.ipc.open_stream(source))
            yield from _placed(batches, path)
    except pa.ArrowInvalid as error:
        raise UserError(
            f"{path}: not an Arrow file ({error}): write it again, or correct its ending"
        ) from None


def dataset_rows(dataset: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of a `datasets.Dataset` without decoding images or audio."""
    for table in dataset.with_format("arrow").iter(batch_size=1000):
        for batch in table.to_batches():
            yield from _rows(batch, "the data set")


def saved_splits(folder: Path) -> dict[str, list[Path]] | None:
    """Return the files of each split in a folder written by `datasets.save_to_disk`; None for other folders.

    A single data set is the split `train`.
    """
    if (folder / "dataset_dict.json").is_file():
        splits = _json_of(folder / "dataset_dict.json").get("splits", [])
        return {str(split): _files_of(folder / str(split)) for split in splits}
    return {"train": _files_of(folder)} if (folder / "state.json").is_file() else None


def _files_of(folder: Path) -> list[Path]:
    state = _json_of(folder / "state.json")
    files = [folder / str(entry["filename"]) for entry in state.get("_data_files", []) if "filename" in entry]
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        raise UserError(
            f"{folder}: {', '.join(missing) or 'the files'} of the saved data set (state.json) are missing: copy it again"
        )
    return files


def _json_of(path: Path) -> Mapping[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}): save the data set again (save_to_disk)") from None
    return read if isinstance(read, dict) else {}


def _placed(batches: Iterator[Any], path: Path) -> Iterator[tuple[str, Any]]:
    number = 0
    for batch in batches:
        for row in _rows(batch, path):
            number += 1
            yield f"row {number}", row


def _rows(batch: Any, path: Path | str) -> Iterator[dict[str, Any]]:
    columns = batch.schema.names
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise UserError(f"{path}: has the column {twice[0]!r} twice: rename one of them")
    cells = [_cells(batch.column(i)) for i in range(len(columns))]
    for row in zip(*cells, strict=True):
        yield dict(zip(columns, row, strict=True))


def _cells(column: Any) -> list[Any]:
    """Convert cells to Python values; values without a Python type (dates after the year 9999) to text or None."""
    import pyarrow as pa

    try:
        cells = column.to_pylist()
    except (ValueError, OverflowError):
        try:
            return column.cast(pa.string()).to_pylist()
        except pa.ArrowException:
            return [None] * len(column)
    return [_without_nulls(cell) for cell in cells] if pa.types.is_nested(column.type) else cells


def _without_nulls(value: Any) -> Any:
    """Remove null keys, which Arrow adds to an object for the keys of other rows' objects."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
