"""Files into rows: JSONL, JSON, CSV, TSV or parquet, plain or compressed, whatever a file's name promises of its JSON.

A row that cannot be read becomes `Broken`, in its place: what is wrong with a file is then said in one list.
"""

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, TextIO

from gip_exp.errors import UserError, listed

SUFFIXES = (".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".parquet")
MOST_SHOWN = 10
LONGEST_CELL = 2**27
DELIMITERS = ",;\t|"  # of a CSV file, by its header; the first on a tie
LISTS = (
    "data",
    "rows",
    "examples",
    "instances",
    "items",
    "records",
    "samples",
    "train",
)  # {"data": [row, ...]}
_BOMS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_SPACE = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True)
class Broken:
    """A row that could not be read, and why."""

    problem: str


Placed = tuple[str, Any]  # where a row stands, for people; the row as it was read, or Broken


def suffix_of(path: Path) -> str:
    """The format of a file by its name, compression aside; '' for one that cannot be read."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compressed = bool(suffixes) and suffixes[-1] in _COMPRESSED
    if compressed:
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    return suffix if suffix in SUFFIXES and not (compressed and suffix == ".parquet") else ""


def read_files(paths: Sequence[Path]) -> list[Placed]:
    """The rows of all files; of several, every place says which."""
    if len(paths) == 1:
        return read_rows(paths[0])
    return [(f"{path.name} {place}", row) for path in paths for place, row in read_rows(path)]


def read_rows(path: Path) -> list[Placed]:
    """(place, row) for every row of a file. Raises UserError when the file as a whole cannot be read."""
    try:
        rows = list(_READERS[suffix_of(path)](path))
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 text (byte 0x{error.object[error.start]:02x}): save the file as UTF-8"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{path}: damaged or cut short ({error}): copy it again") from None
    except RecursionError:
        raise UserError(f"{path}: nested too deeply to be rows of text: check the file") from None
    if not rows:
        raise UserError(f"{path}: holds no rows: check the file, or give another (data.path)")
    return rows


def _zstd(path: Path) -> IO[bytes]:
    import pyarrow as pa

    return pa.input_stream(str(path), compression="zstd")


_COMPRESSED: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _zstd,
}


@contextmanager
def _bytes(path: Path) -> Iterator[Any]:
    with _COMPRESSED.get(path.suffix.lower(), lambda plain: plain.open("rb"))(path) as stream:
        yield stream


@contextmanager
def _text(path: Path, newline: str | None = None) -> Iterator[TextIO]:
    """The file as text: UTF-8 with or without a mark at its start, or another Unicode form with one."""
    with _bytes(path) as stream:
        start = stream.read(4)
    encoding = next((name for mark, name in _BOMS.items() if start.startswith(mark)), "utf-8-sig")
    with _bytes(path) as stream, io.TextIOWrapper(stream, encoding=encoding, newline=newline) as text:
        yield text


def _json(path: Path) -> Iterator[Placed]:
    return _json_lines(path) if _one_a_line(path) else _json_whole(path)


def _one_a_line(path: Path) -> bool:
    """Whether a file holds one JSON value a line; its name decides only where its content does not."""
    with _text(path) as stream:
        lines = list(islice((line for line in stream if line.strip()), 1000))
    if not lines:
        return True
    if isinstance(_value(lines[0]), Broken):
        if lines[0].lstrip().startswith("["):
            return False  # a list over several lines
        objects = any(isinstance(_value(line), dict) for line in lines)
        return objects or (suffix_of(path) != ".json" and lines[0].strip() != "{")
    return len(lines) > 1


def _value(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        return Broken(f"not JSON ({error.msg} at column {error.colno}): {line.strip()[:60]!r}")


def _json_lines(path: Path) -> Iterator[Placed]:
    with _text(path) as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield f"line {number}", _value(line)


def _json_whole(path: Path) -> Iterator[Placed]:
    """A list of rows, an object that holds one list of rows, or rows one after the other over several lines."""
    with _text(path) as stream:
        text = stream.read()
    try:
        start = _space(text, 0)
        values = list(_elements(text, start + 1) if text.startswith("[", start) else _sequence(text, start))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}: line {error.lineno}: not JSON ({error.msg} at column {error.colno}): check the file there"
        ) from None
    for key in LISTS if len(values) == 1 and isinstance(values[0][1], dict) else ():
        inner = values[0][1].get(key)
        if isinstance(inner, list):
            yield from ((f"row {number} of {key!r}", row) for number, row in enumerate(inner, 1))
            return
    yield from values


def _elements(text: str, position: int) -> Iterator[Placed]:
    """The elements of the JSON list that `position` is just inside of, with their lines."""
    line, counted, position = 1, 0, _space(text, position)
    if text.startswith("]", position):
        _end(text, position + 1)
        return
    while True:
        line, counted = line + text.count("\n", counted, position), position
        value, position = _DECODER.raw_decode(text, position)
        yield f"line {line}", value
        position = _space(text, position)
        if text.startswith("]", position):
            _end(text, position + 1)
            return
        if not text.startswith(",", position):
            raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
        position = _space(text, position + 1)


def _sequence(text: str, position: int) -> Iterator[Placed]:
    """JSON values one after the other, with their lines."""
    line, counted = 1, 0
    while position < len(text):
        line, counted = line + text.count("\n", counted, position), position
        value, position = _DECODER.raw_decode(text, position)
        yield f"line {line}", value
        position = _space(text, position)


def _space(text: str, position: int) -> int:
    """The position of the next character that is not white space."""
    match = _SPACE.match(text, position)
    assert match is not None
    return match.end()


def _end(text: str, position: int) -> None:
    position = _space(text, position)
    if position < len(text):
        raise json.JSONDecodeError("Extra data", text, position)


_DECODER = json.JSONDecoder()


def _csv(path: Path) -> Iterator[Placed]:
    csv.field_size_limit(LONGEST_CELL)
    with _text(path) as stream:
        delimiter = "\t" if suffix_of(path) == ".tsv" else _delimiter(stream.readline())
    with _text(path, newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        header: list[str] = []
        line = 1
        try:
            for cells in reader:
                if not header:
                    header = _header(cells, path)
                elif cells:
                    yield f"line {line}", _row(header, cells)
                line = reader.line_num + 1
        except csv.Error as error:
            raise UserError(
                f"{path}: line {line}: not CSV that can be read ({error}); is a quote left open or not doubled there?"
            ) from None


def _delimiter(header: str) -> str:
    bare = re.sub(r'"[^"]*"', "", header)
    return max(DELIMITERS, key=lambda sign: (bare.count(sign), -DELIMITERS.index(sign)))


def _header(cells: list[str], path: Path) -> list[str]:
    twice = sorted({cell for cell in cells if cell and cells.count(cell) > 1})
    if twice:
        raise UserError(f"{path}: the header names the column {twice[0]!r} twice: rename one of them")
    return cells


def _row(header: list[str], cells: list[str]) -> Mapping[str, str | None] | Broken:
    if len(cells) > len(header):
        return Broken(
            f"has {len(cells)} cells, the header {len(header)}: put quotes around a cell that holds the delimiter"
        )
    return dict(zip(header, [*cells, *[None] * (len(header) - len(cells))], strict=True))


def _parquet(path: Path) -> Iterator[Placed]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        number = 0
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", row
    except pa.ArrowInvalid as error:
        raise UserError(
            f"{path}: not a parquet file ({error}): write it again, or rename it to what it is"
        ) from None


_READERS: dict[str, Callable[[Path], Iterator[Placed]]] = {
    ".jsonl": _json,
    ".json": _json,
    ".ndjson": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
}


def broken_rows(source: Path | str, broken: Sequence[str], remedy: str = "mend or remove them") -> UserError:
    """One error for all broken rows, the first ten by name."""
    more = len(broken) - MOST_SHOWN
    shown = [*broken[:MOST_SHOWN], *([f"... and {more:,} more"] if more > 0 else [])]
    if len(broken) == 1:
        return UserError(f"{source}: {shown[0]}; {remedy}")
    return listed(f"{source}: {len(broken):,} broken rows; {remedy}:", shown)
