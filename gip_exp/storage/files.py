"""Files that are written whole or not at all, and digests of values and files."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy as np

SMALL_FILE = 32 * 2**20
SAMPLES, SAMPLE = 1024, 16 * 2**10  # of a large file: where, and how many bytes each


def digest(value: object, length: int = 16) -> str:
    """First `length` hex digits of the SHA-256 of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, read in blocks; once a process as long as the file stays the same."""
    facts = path.stat()
    return _file_digest(path, facts.st_size, facts.st_mtime_ns, facts.st_ino)


@lru_cache(maxsize=256)
def _file_digest(path: Path, *_: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_sketch(path: Path) -> str:
    """SHA-256 of a small file; of the size and 1,024 samples of a large one (seconds instead of minutes for weights).

    The samples lie evenly over the whole file: two merges of different adapters into one base differ in every layer,
    but neither at the start (header, embeddings) nor at the end (the last norm). Made once a process as long as the
    file stays the same: a plan asks for every run.
    """
    facts = path.stat()
    if facts.st_size <= SMALL_FILE:
        return file_digest(path)
    return _file_sketch(path, facts.st_size, facts.st_mtime_ns, facts.st_ino)


@lru_cache(maxsize=256)
def _file_sketch(path: Path, size: int, *_: int) -> str:
    sketch = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        for sample in range(SAMPLES):
            stream.seek((size - SAMPLE) * sample // (SAMPLES - 1))
            sketch.update(stream.read(SAMPLE))
    return sketch.hexdigest()


def folder_sketch(folder: Path) -> dict[str, str]:
    """The sketch of every file below a folder, by its place there.

    Dot files and folders (.git, .cache) are left out: no loader reads them, and downloads change them.
    """
    files = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        place.as_posix(): file_sketch(path)
        for place, path in files.items()
        if not any(part.startswith(".") for part in place.parts)
    }


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream whose bytes take the place of `path` once all of them are on disk. A reader sees the old file or the new
    one, never half of it; an error leaves the old one and nothing else.
    """
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
    """Remove the temporary files of killed writers below `folder`. Only for a folder that nobody else writes to now."""
    for path in folder.rglob("*.tmp"):
        if re.search(r"\.\d+\.tmp$", path.name):  # a process id, as `replacing` and LESS's shards have it
            path.unlink(missing_ok=True)


def sync(stream: IO[Any]) -> None:
    """Wait until what was written is on the disk itself."""
    stream.flush()
    os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk itself."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: object) -> None:
    """Indented JSON, written whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """UTF-8, written whole or not at all."""
    with replacing(path) as stream:
        stream.write(text.encode())


def write_array(path: Path, values: "np.ndarray") -> None:
    """A .npy file, written whole or not at all."""
    import numpy as np

    with replacing(path) as stream:
        np.save(stream, values)


def copy_file(source: Path, target: Path) -> None:
    """Copy the bytes of a file, whole or not at all."""
    with source.open("rb") as original, replacing(target) as stream:
        shutil.copyfileobj(original, stream)


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    """One JSON object a line, UTF-8, written whole or not at all."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file that this project wrote."""
    with path.open(encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]
