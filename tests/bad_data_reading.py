"""A second, plain reader of files of rows, against which the data campaign holds what a run has read."""

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

UNREADABLE = object()  # a line that is no JSON
_PACKED = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def rows_below(place: Path) -> dict[str, list[Any]]:
    """Rows by the name of their file, of a file or of all training files of a folder."""
    if place.is_file():
        return {place.name: rows_of(place)}
    paths = [path for path in sorted(place.rglob("*")) if path.is_file() and path.name.startswith("train")]
    return {path.name: rows_of(path) for path in paths}


def rows_of(path: Path) -> list[Any]:
    """The rows of a file in its order, each as a value of JSON."""
    data = path.read_bytes()
    ending = path.suffixes[0]
    if ending == ".parquet":
        import pyarrow.parquet as pq

        return list(pq.read_table(io.BytesIO(data)).to_pylist())
    if path.suffix in _PACKED:
        data = _PACKED[path.suffix](data)
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8-sig")
    text = data.decode(encoding)
    if ending in (".csv", ".tsv"):
        return list(
            _table(text, "\t" if ending == ".tsv" else ";" if text.count(";") > text.count(",") else ",")
        )
    return _json(text)


def _table(text: str, delimiter: str) -> Iterator[Any]:
    header, *rest = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    for cells in rest:
        if len(cells) > len(header):
            yield UNREADABLE
        elif cells:
            yield dict(zip(header, [*cells, *[None] * len(header)], strict=False))


def _json(text: str) -> list[Any]:
    whole = value(text)
    if isinstance(whole, list):
        return whole
    if isinstance(whole, dict):
        return _inside(whole)
    parts = [value(line) for line in io.StringIO(text, newline=None) if line.strip()]
    if sum(isinstance(part, dict) for part in parts):
        return parts
    return list(_sequence(text))


def _sequence(text: str) -> Iterator[Any]:
    """Values one after the other."""
    decoder, text = json.JSONDecoder(), text.strip()
    while text:
        found, end = decoder.raw_decode(text)
        yield found
        text = text[end:].lstrip()


def _inside(whole: dict[str, Any]) -> list[Any]:
    """The rows in one object: under a key, as columns, by name; or the object as the only row."""
    if isinstance(whole.get("data"), list):
        return list(whole["data"])
    cells = list(whole.values())
    if all(isinstance(cell, list) and cell and isinstance(cell[0], str) for cell in cells):
        return [dict(zip(whole, row, strict=True)) for row in zip(*cells, strict=True)]
    if all(isinstance(cell, dict) for cell in cells):
        return cells
    return [whole]


def value(text: str) -> Any:
    """A value of JSON, or UNREADABLE; an integer that Python does not read is its digits."""
    try:
        return json.loads(text, parse_int=lambda digits: digits if len(digits) > 4000 else int(digits))
    except (ValueError, RecursionError):
        return UNREADABLE


def standard(found: Any) -> Any:
    """A value as standard JSON has it: null for NaN and infinity."""
    if isinstance(found, dict):
        return {key: standard(item) for key, item in found.items()}
    if isinstance(found, list):
        return [standard(item) for item in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found


def texts(found: Any) -> Iterator[str]:
    """All texts and numbers in a value, as texts; JSON in a text is looked into."""
    if isinstance(found, dict | list):
        for item in found.values() if isinstance(found, dict) else found:
            yield from texts(item)
    elif found is not None:
        yield found if isinstance(found, str) else str(found).replace("True", "true")
        inner = value(found) if isinstance(found, str) and found[:1] in ("[", "{") else None
        yield from texts(inner) if isinstance(inner, dict | list) else ()
