"""Opening files as bytes or text: plain or compressed, UTF-8 or another Unicode encoding with a byte order mark."""

import bz2
import codecs
import gzip
import io
import lzma
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

TEXT = (".jsonl", ".json", ".ndjson", ".csv", ".tsv")
TABLES = (".parquet", ".arrow", ".feather")
SUFFIXES = (*TEXT, *TABLES)
_BOMS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def _zstd(path: Path) -> IO[bytes]:
    import pyarrow as pa

    return pa.input_stream(str(path), compression="zstd")


_COMPRESSED: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _zstd,
}


def suffix_of(path: Path) -> str:
    """Return the ending that gives a file's format, without that of compression; '' for an unknown format."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compressed = bool(suffixes) and suffixes[-1] in _COMPRESSED
    if compressed:
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    return suffix if suffix in (TEXT if compressed else SUFFIXES) else ""


@contextmanager
def as_bytes(path: Path) -> Iterator[Any]:
    """Open a file as bytes, uncompressed."""
    with _COMPRESSED.get(path.suffix.lower(), lambda plain: plain.open("rb"))(path) as stream:
        yield stream


@contextmanager
def as_text(path: Path, newline: str | None = None) -> Iterator[TextIO]:
    """Open a file as text."""
    with as_bytes(path) as stream:
        start = stream.read(4)
    encoding = next((name for mark, name in _BOMS.items() if start.startswith(mark)), "utf-8-sig")
    with as_bytes(path) as stream, io.TextIOWrapper(stream, encoding=encoding, newline=newline) as text:
        yield text
