"""The manifest of a stage output: its settings, files and hashes, and the check of the files against it."""

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
from gip_exp.storage.sharing import allow_by_umask

MANIFEST = "manifest.json"
LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "lm-eval", "scikit-learn", "numpy")
# Other OSErrors (permissions, I/O) do not mean that the output is damaged.
_NOT_AS_WRITTEN = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
HASHED = 64 * 2**20  # bytes of an output that are hashed on every reuse, smallest files first


class DamagedError(Exception):
    """A stage output that does not match its manifest."""


def describe(folder: Path, *, leave_out: Collection[str] = ()) -> dict[str, Any]:
    """Flush every file below `folder` to disk, with the permissions of the umask, and describe the output.

    Args:
        folder: Folder of the output.
        leave_out: Names of folders in it that are not part of the output.

    Returns:
        Size and SHA-256 of every file, library versions, git revision, time and peak memory.
    """
    files = {}
    allow_by_umask(folder)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] not in leave_out:
            files[str(name)] = {"bytes": path.stat().st_size, "sha256": file_digest(path)}
            with path.open("rb") as stream:
                os.fsync(stream.fileno())  # an output that exists after a power cut must be complete
    return {
        "peak_memory_bytes": peak_memory(),
        "files": files,
        "versions": {"python": sys.version.split()[0], **versions()},
        "git": _revision(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def read(folder: Path, *, hashed: int | None = HASHED) -> Mapping[str, Any]:
    """Read the manifest of an output and check the files against it.

    Args:
        folder: Folder of the output.
        hashed: Number of bytes to hash, smallest files first; None for all. Of the other files only the size is
            compared: hashing gigabytes on every reuse would cost more than it saves.

    Raises:
        DamagedError: the manifest is missing, or a file does not match it.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = {folder / name: (file["bytes"], file["sha256"]) for name, file in manifest["files"].items()}
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
            raise DamagedError(f"the content of {path.relative_to(folder)} has changed since it was written")


def drop_unlisted(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Remove files that are not in the manifest, and empty folders."""
    for path in sorted(folder.rglob("*"), reverse=True):  # contents before their folder
        name = str(path.relative_to(folder))
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif name not in manifest["files"] and name != MANIFEST:
            path.unlink()


def peak_memory() -> int:
    """Return the peak resident memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def versions() -> dict[str, str]:
    """Return the versions of the installed libraries that results depend on."""
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


@cache
def _revision() -> str | None:
    """Return the git revision of the project, with '+' if the tree has changes; None outside a checkout."""
    try:
        return _git("rev-parse", "HEAD") + ("+" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    """Run git in the checkout that contains this file, and return its output."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
