"""Atomic writing of files, and digests of values and files."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy as np

SMALL_FILE = 32 * 2**20
SAMPLES, SAMPLE = 1024, 16 * 2**10  # of a large file: number of samples, bytes of each


def digest(value: object, length: int = 16) -> str:
    """Return the first `length` hex digits of the SHA-256 of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, cached in this process while size, time and inode stay the same."""
    stat = path.stat()
    return _file_digest(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@lru_cache(maxsize=256)
def _file_digest(path: Path, *_: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_sketch(path: Path) -> str:
    """Return the SHA-256 of a small file, or of the size and 1,024 samples of a large one.

    Takes seconds instead of minutes for model weights. The samples are spread evenly over the file: two merges of
    different adapters into one base differ in every layer, but neither at the start (header, embeddings) nor at the end
    (the last norm). Cached in this process while the file stays the same.
    """
    stat = path.stat()
    if stat.st_size <= SMALL_FILE:
        return file_digest(path)
    return _file_sketch(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@lru_cache(maxsize=256)
def _file_sketch(path: Path, size: int, *_: int) -> str:
    sketch = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        for sample in range(SAMPLES):
            stream.seek((size - SAMPLE) * sample // (SAMPLES - 1))
            sketch.update(stream.read(SAMPLE))
    return sketch.hexdigest()


def folder_sketch(folder: Path) -> dict[str, str]:
    """Return the sketch of every file below a folder, by relative path.

    Dot files and folders (.git, .cache) are left out: no loader reads them, and downloads change them.
    """
    files = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        relative.as_posix(): file_sketch(path)
        for relative, path in files.items()
        if not any(part.startswith(".") for part in relative.parts)
    }


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a stream that replaces `path` atomically when the block ends; after an error the old file remains."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            sync(stream)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of killed processes below `folder`. No other process may be writing there."""
    for path in folder.rglob("*.tmp"):
        if re.search(r"\.\d+\.tmp$", path.name):  # with a process id, as in `replacing` and in LESS's shards
            path.unlink(missing_ok=True)


def sync(stream: IO[Any]) -> None:
    """Flush a stream to disk."""
    stream.flush()
    os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of files to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: object) -> None:
    """Write indented JSON atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing(path) as stream:
        stream.write(text.encode())


def write_array(path: Path, values: "np.ndarray") -> None:
    """Write a .npy file atomically."""
    import numpy as np

    with replacing(path) as stream:
        np.save(stream, values)


def copy_file(source: Path, target: Path) -> None:
    """Copy the content of a file atomically."""
    with source.open("rb") as original, replacing(target) as stream:
        shutil.copyfileobj(original, stream)


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object per line atomically."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a JSONL file written by this project."""
    with path.open(encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]
