"""The manifest of a stage output: what went in, what came out, byte for byte, and whether that still holds."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gip_exp.storage.files import file_digest

MANIFEST = "manifest.json"
LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "lm-eval", "scikit-learn", "numpy")
_NOT_AS_WRITTEN = (
    FileNotFoundError,
    NotADirectoryError,
    IsADirectoryError,
)  # any other OSError says nothing of the output
HASHED = 64 * 2**20  # bytes of an output that are hashed whenever it is reused, the smallest files first


class DamagedError(Exception):
    """Why an output cannot be used."""


def describe(folder: Path, *, leave_out: Collection[str] = ()) -> dict[str, Any]:
    """Size and SHA-256 of every file below `folder`, which is on the disk itself afterwards, and what made it where.

    `leave_out` names folders in `folder` that are no part of the output.
    """
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] not in leave_out:
            files[str(name)] = {"bytes": path.stat().st_size, "sha256": file_digest(path)}
            with path.open("rb") as stream:
                os.fsync(stream.fileno())  # an output that is there after a power cut must be whole
    return {
        "peak_memory_bytes": peak_memory(),
        "files": files,
        "versions": {"python": sys.version.split()[0], **versions()},
        "git": _revision(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def read(folder: Path, *, hashed: int | None = HASHED) -> Mapping[str, Any]:
    """The manifest of an output whose files are as it says. Raises DamagedError.

    Sizes are compared for every file, digests for the smallest ones, `hashed` bytes altogether (None: for all): hashing
    gigabytes on every reuse would cost more than it saves.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = {
            folder / name: (facts["bytes"], facts["sha256"]) for name, facts in manifest["files"].items()
        }
        _ = float(manifest["seconds"]), dict(manifest["facts"]), list(manifest["notes"])
    except (*_NOT_AS_WRITTEN, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{MANIFEST} cannot be read") from error
    try:
        _compare(folder, files, hashed)
    except _NOT_AS_WRITTEN as error:
        raise DamagedError(f"{Path(error.filename).relative_to(folder)} is missing") from error
    return manifest


def _compare(folder: Path, files: Mapping[Path, tuple[int, str]], hashed: int | None) -> None:
    left = float("inf") if hashed is None else hashed
    for path, (size, sha256) in sorted(files.items(), key=lambda item: item[1][0]):
        found = path.stat().st_size
        if found != size:
            raise DamagedError(f"{path.relative_to(folder)} has {found} bytes instead of {size}")
        left -= size
        if left >= 0 and file_digest(path) != sha256:
            raise DamagedError(f"{path.relative_to(folder)} has other bytes than when it was written")


def drop_unlisted(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Remove what is no part of the output."""
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder before the folder
        name = str(path.relative_to(folder))
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif name not in manifest["files"] and name != MANIFEST:
            path.unlink()


def peak_memory() -> int:
    """Peak resident memory of this process so far, in bytes (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def versions() -> dict[str, str]:
    """Versions of the libraries that results rest on, where installed."""
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


@cache
def _revision() -> str | None:
    """The project's git revision, with '+' when the tree has changes; None outside a checkout."""
    try:
        return _git("rev-parse", "HEAD") + ("+" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    """What git says of the checkout that this file lies in."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
