"""Content-addressed stage outputs: what a stage made is kept under a key that says what went into it.

An entry lives at `<root>/store/<stage>/<key>/`. It is written into `<key>.partial/` under a lock, `manifest.json`
goes in last, and the folder is renamed: an entry that exists is complete and never changes. Two processes that want
the same key: one makes it, the other waits. The lock is the kernel's (flock), so it dies with its owner and no
clock is involved. A resumable stage finds what a killed predecessor left in its partial folder.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gip_exp.errors import UserError
from gip_exp.files import digest, file_digest, write_json

MANIFEST = "manifest.json"
LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "lm-eval", "scikit-learn", "numpy")


@dataclass(frozen=True)
class Entry:
    """A finished stage output. `seconds` is what it cost to make, whoever made it; `cached` says it was there."""

    stage: str
    key: str
    folder: Path
    manifest: Mapping[str, Any]
    cached: bool

    @property
    def seconds(self) -> float:
        return float(self.manifest["seconds"])

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the stage reported about its output (counts, summaries)."""
        return self.manifest["facts"]

    @property
    def notes(self) -> list[str]:
        """Warnings about the output, shown again whenever it is reused."""
        return list(self.manifest["notes"])


@dataclass
class Draft:
    """Where a stage writes. `facts` and `notes` end up in the manifest."""

    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Store:
    """Stage outputs below `<root>/store`."""

    def __init__(self, root: Path, *, on_wait: Callable[[str], None] | None = None) -> None:
        self.root = root
        self.on_wait = on_wait or (lambda _: None)

    def folder(self, stage: str, key: str) -> Path:
        return self.root / "store" / stage / key

    def find(self, stage: str, key: str) -> Entry | None:
        """The finished entry, or None. A damaged one is set aside and counts as absent."""
        folder = self.folder(stage, key)
        if not folder.is_dir():
            return None
        damage = _damage(folder)
        if damage:
            self._set_aside(folder, damage)
            return None
        return Entry(stage, key, folder, json.loads((folder / MANIFEST).read_text()), cached=True)

    def produce(
        self,
        stage: str,
        identity: Mapping[str, Any],
        build: Callable[[Draft], None],
        *,
        resumable: bool = False,
    ) -> Entry:
        """The entry for `identity`, made by `build` if nobody made it yet.

        `identity` is everything that can change the content: stage version, settings, the keys of the inputs.
        """
        key = key_of(stage, identity)
        entry = self.find(stage, key)
        if entry is not None:
            return entry
        folder = self.folder(stage, key)
        self._make_writable(folder.parent)
        with self._lock(folder):
            entry = self.find(stage, key)  # somebody else may have made it while this process waited
            if entry is not None:
                return entry
            return self._build(stage, key, identity, build, resumable)

    def _build(
        self,
        stage: str,
        key: str,
        identity: Mapping[str, Any],
        build: Callable[[Draft], None],
        resumable: bool,
    ) -> Entry:
        folder = self.folder(stage, key)
        partial = folder.with_name(key + ".partial")
        if partial.is_symlink():  # planted by somebody who can write here too: what is made stays here
            partial.unlink()
        if partial.exists() and not resumable:
            shutil.rmtree(partial)
        partial.mkdir(exist_ok=True)
        (partial / MANIFEST).unlink(missing_ok=True)  # of a predecessor killed just before the rename
        draft = Draft(partial)
        start = time.perf_counter()
        try:
            build(draft)
            manifest = self._manifest(stage, key, identity, draft, time.perf_counter() - start)
            write_json(partial / MANIFEST, manifest)
            _sync_folder(partial)
            partial.rename(folder)
            _sync_folder(folder.parent)
        except BaseException as error:
            if not resumable:  # a resumable stage goes on from its shards; anything else starts afresh
                shutil.rmtree(partial, ignore_errors=True)
            if isinstance(error, OSError) and error.errno in _FULL:
                raise UserError(
                    f"no space left below {self.root} while writing stage {stage!r}: free some space (finished "
                    "stages are kept and reused) or point paths.root at another disk, then run again"
                ) from error
            raise
        return Entry(stage, key, folder, manifest, cached=False)

    def _manifest(
        self, stage: str, key: str, identity: Mapping[str, Any], draft: Draft, seconds: float
    ) -> dict[str, Any]:
        files = {
            str(path.relative_to(draft.folder)): {"bytes": path.stat().st_size, "sha256": file_digest(path)}
            for path in sorted(draft.folder.rglob("*"))
            if path.is_file()
        }
        return {
            "stage": stage,
            "key": key,
            **identity,
            "seconds": round(seconds, 3),
            "peak_memory_bytes": peak_memory(),
            "facts": draft.facts,
            "notes": draft.notes,
            "files": files,
            "versions": {"python": sys.version.split()[0], **versions()},
            "git": _revision(),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    @contextmanager
    def _lock(self, folder: Path) -> Iterator[None]:
        lock = FileLock(folder.with_name(folder.name + ".lock"))
        try:
            lock.acquire(timeout=0.05)
        except Timeout:
            self.on_wait(f"another process is making {folder.parent.name}/{folder.name}: waiting for it")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _make_writable(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(_not_writable(self.root, error)) from error
        if not os.access(folder, os.W_OK):
            raise UserError(_not_writable(self.root, "permission denied"))

    def _set_aside(self, folder: Path, damage: str) -> None:
        for number in range(1, 1000):
            aside = folder.with_name(f"{folder.name}.damaged-{number}")
            if not aside.exists():
                break
        self.on_wait(f"{folder} is damaged ({damage}): moved to {aside.name}, it will be made again")
        try:
            folder.rename(aside)
        except FileNotFoundError:
            pass  # another process set it aside first
        except OSError as error:
            raise UserError(
                f"{folder} is damaged ({damage}) and cannot be moved aside ({error.strerror}): "
                "make paths.root writable or delete that folder"
            ) from error


_FULL = (28, 122)  # ENOSPC, EDQUOT


def key_of(stage: str, identity: Mapping[str, Any]) -> str:
    """The key of a stage's output, made or not: a digest of all that can change it."""
    return digest({"stage": stage, **identity})


def _not_writable(root: Path, why: object) -> str:
    return f"paths.root={root} cannot be written ({why}): choose a folder you can write, e.g. paths.root=/tmp/gip"


def _damage(folder: Path) -> str:
    """Why an entry cannot be used, or ''. Sizes only: hashing gigabytes on every reuse would cost more than it saves."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        for name, facts in manifest["files"].items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != facts["bytes"]:
                return f"{name} has {path.stat().st_size} bytes instead of {facts['bytes']}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} cannot be read"
    return ""


def peak_memory() -> int:
    """Peak resident memory of this process so far, in bytes (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
    here = Path(__file__).parent
    try:
        head = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        ).stdout.strip()
        dirty = subprocess.run(
            ["git", "-C", str(here), "status", "--porcelain"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if dirty else "")
