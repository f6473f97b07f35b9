"""A content-addressed store of stage outputs: each is stored under a key of everything that determines its content.

An entry is the folder `<root>/store/<stage>/<key>/`. It is written to `<key>.partial/` under a lock, `manifest.json` last,
and then renamed, so an entry that exists is complete; it never changes afterwards. If two processes need the same key,
one makes the entry and the other waits. Nothing depends on wall-clock time: the kernel releases a lock when its process
exits. A resumable stage continues from the partial folder of a killed process. An entry that does not match its manifest
is moved aside and made again.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gip_exp.errors import UserError
from gip_exp.storage import manifest
from gip_exp.storage.disk_errors import explained, make_folder
from gip_exp.storage.files import digest, remove_leftovers, sync_folder, write_json
from gip_exp.storage.locks import held
from gip_exp.storage.manifest import MANIFEST
from gip_exp.storage.sharing import allow_by_umask, closed_file, unreadable


@dataclass(frozen=True)
class Entry:
    """A finished stage output.

    Attributes:
        stage: Name of the stage group.
        key: Its key.
        folder: Its folder.
        manifest: Its manifest.
        cached: Whether it existed before this process asked for it.
        changed_code: Source files whose changes prevented the reuse of an older output.
    """

    stage: str
    key: str
    folder: Path
    manifest: Mapping[str, Any]
    cached: bool
    changed_code: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Seconds that it took to make, in this or an earlier process."""
        return float(self.manifest["seconds"])

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the stage recorded about its output (counts, summaries)."""
        return self.manifest["facts"]

    @property
    def notes(self) -> list[str]:
        """Warnings about the output, shown whenever it is reused."""
        return list(self.manifest["notes"])


@dataclass
class Draft:
    """An output being written. `facts`, `notes` and the seconds since `started` are recorded in the manifest."""

    folder: Path
    started: float = field(default_factory=time.perf_counter)
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    scratch_names: list[str] = field(default_factory=list)

    def scratch(self, name: str) -> Path:
        """Return a folder, not created, for temporary files that a resumed stage needs; removed when the output is committed."""
        self.scratch_names.append(name)
        return self.folder / name


class Store:
    """Stage outputs below `<root>/store`."""

    def __init__(self, root: Path, *, on_wait: Callable[[str], None] | None = None) -> None:
        self.root = root
        self.on_wait = on_wait or (lambda _: None)

    def folder(self, stage: str, key: str) -> Path:
        """Return the folder of an output, whether or not it exists."""
        return self.root / "store" / stage / key

    def find(self, stage: str, key: str, *, contents: bool = True) -> Entry | None:
        """Return the finished entry, or None if it does not exist or is damaged.

        Args:
            stage: Name of the stage group.
            key: Its key.
            contents: Whether to hash small files; False compares sizes only.

        Raises:
            UserError: it belongs to another user and cannot be read.
        """
        try:
            kept = manifest.read(self.folder(stage, key), hashed=manifest.HASHED if contents else 0)
        except manifest.DamagedError:
            return None
        except PermissionError as error:
            raise UserError(unreadable(Path(error.filename))) from error
        return Entry(stage, key, self.folder(stage, key), kept, cached=True)

    def changed_code(self, stage: str, identity: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the source files whose code differs from the newest output that is otherwise identical."""
        rest = {part: value for part, value in identity.items() if part != "code"}
        newest: Mapping[str, Any] | None = None
        for path in self.folder(stage, "").glob(f"*/{MANIFEST}"):
            try:
                kept = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            alike = isinstance(kept, dict) and all(kept.get(part) == value for part, value in rest.items())
            if alike and (newest is None or kept.get("finished", "") > newest.get("finished", "")):
                newest = kept
        if newest is None:
            return ()
        theirs, ours = newest.get("code", {}), identity.get("code", {})
        return tuple(sorted(file for file in {*theirs, *ours} if theirs.get(file) != ours.get(file)))

    def produce(
        self,
        stage: str,
        identity: Mapping[str, Any],
        build: Callable[[Draft], None],
        *,
        resumable: bool = False,
    ) -> Entry:
        """Return the entry for `identity`, after making it if it does not exist.

        Args:
            stage: Name of the stage group.
            identity: Everything that can change the content: code, settings, keys of the inputs.
            build: Writes the output.
            resumable: Whether `build` continues from the partial folder of a killed process.

        Raises:
            UserError: the disk is full or not writable.
        """
        key = key_of(stage, identity)
        entry = self.find(stage, key)
        if entry is not None:
            return entry
        folder = self.folder(stage, key)
        make_folder(folder.parent, self.root)
        waiting = f"another process is making {stage}/{key}: waiting for it"
        with (
            explained(self.root, f"writing stage {stage!r}"),
            held(folder.with_name(key + ".lock"), lambda: self.on_wait(waiting)),
        ):
            entry = self.find(stage, key)  # another process may have made it in the meantime
            if entry is not None:
                return entry
            self._set_aside(folder)
            return self._adopt(stage, key) or self._build(stage, key, identity, build, resumable)

    def _adopt(self, stage: str, key: str) -> Entry | None:
        """Commit an output that a killed process finished but did not rename; None if there is none."""
        partial = _partial(self.folder(stage, key))
        try:
            kept = manifest.read(partial, hashed=None)
        except manifest.DamagedError:
            return None
        return self._commit(Entry(stage, key, self.folder(stage, key), kept, cached=True))

    def _build(
        self,
        stage: str,
        key: str,
        identity: Mapping[str, Any],
        build: Callable[[Draft], None],
        resumable: bool,
    ) -> Entry:
        folder = self.folder(stage, key)
        partial = _partial(folder)
        closed = closed_file(partial) if resumable else None
        if closed:
            self.on_wait(
                f"{closed} was written by another process and cannot be read: {stage} begins again without it"
            )
        draft = Draft(_prepared(partial, resumable and not closed))
        try:
            # Inside, because removing the partial output below frees space, and the disk no longer looks full.
            with explained(self.root, f"writing stage {stage!r}"):
                build(draft)
                seconds = round(time.perf_counter() - draft.started, 3)
                reported = {"seconds": seconds, "facts": draft.facts, "notes": draft.notes}
                described = manifest.describe(draft.folder, leave_out=draft.scratch_names)
                written = {"stage": stage, "key": key, **identity, **reported, **described}
                write_json(draft.folder / MANIFEST, written)
                return self._commit(Entry(stage, key, folder, written, cached=False))
        except BaseException:
            if resumable and draft.folder.is_dir() and any(draft.folder.iterdir()):
                allow_by_umask(draft.folder)
            else:
                shutil.rmtree(draft.folder, ignore_errors=True)
            raise

    def _commit(self, entry: Entry) -> Entry:
        """Rename a complete partial folder to the folder of its entry."""
        partial = _partial(entry.folder)
        manifest.drop_unlisted(partial, entry.manifest)
        sync_folder(partial)
        partial.rename(entry.folder)
        sync_folder(entry.folder.parent)
        return entry

    def _set_aside(self, folder: Path) -> None:
        """Rename a damaged entry. The lock must be held, or this could be another process's new entry."""
        if not os.path.lexists(folder):
            return
        try:
            manifest.read(folder)
            return
        except manifest.DamagedError as error:
            damage = error
        free = (folder.with_name(f"{folder.name}.damaged-{number}") for number in range(1, 1000))
        aside = next(path for path in free if not os.path.lexists(path))
        self.on_wait(f"{folder} is damaged ({damage}): moved to {aside.name}, it will be made again")
        folder.rename(aside)


def key_of(stage: str, identity: Mapping[str, Any]) -> str:
    """Return the key of a stage output: a digest of everything that can change it."""
    return digest({"stage": stage, **identity})


def _partial(folder: Path) -> Path:
    return folder.with_name(folder.name + ".partial")


def _prepared(partial: Path, resumable: bool) -> Path:
    """Create the folder to write to; for a resumable stage, keep what a killed process left in it."""
    if partial.is_dir() and resumable:
        (partial / MANIFEST).unlink(missing_ok=True)
        remove_leftovers(partial)
        return partial
    if partial.is_dir():
        shutil.rmtree(partial)
    partial.unlink(missing_ok=True)
    partial.mkdir()
    return partial
