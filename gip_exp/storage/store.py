"""Content-addressed stage outputs: what a stage made is kept under a key that says what went into it.

An entry lives at `<root>/store/<stage>/<key>/`. It is written into `<key>.partial/` under a lock, `manifest.json`
goes in last, and the folder is renamed: an entry that exists is complete and never changes. Two processes that want
the same key: one makes it, the other waits. The lock is the kernel's (flock), so it dies with its owner and no
clock is involved. A resumable stage finds what a killed predecessor left in its partial folder. An entry whose files
are not as its manifest says is moved aside and made again.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gip_exp.storage import manifest
from gip_exp.storage.disk_errors import explained, make_folder
from gip_exp.storage.files import digest, remove_leftovers, sync_folder, write_json
from gip_exp.storage.locks import held
from gip_exp.storage.manifest import MANIFEST


@dataclass(frozen=True)
class Entry:
    """A finished stage output. `seconds` is what it cost to make, whoever made it; `cached` says it was there.

    `changed_code` names the source files for which it was made again now, instead of reusing an older one.
    """

    stage: str
    key: str
    folder: Path
    manifest: Mapping[str, Any]
    cached: bool
    changed_code: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """What the output cost to make, whoever made it."""
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
    """Where a stage writes. `facts` and `notes` end up in the manifest, and the seconds since `started`."""

    folder: Path
    started: float = field(default_factory=time.perf_counter)
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    scratch_names: list[str] = field(default_factory=list)

    def scratch(self, name: str) -> Path:
        """A folder (not made) for what a killed stage goes on from: no part of the output, and gone once that is whole."""
        self.scratch_names.append(name)
        return self.folder / name


class Store:
    """Stage outputs below `<root>/store`."""

    def __init__(self, root: Path, *, on_wait: Callable[[str], None] | None = None) -> None:
        self.root = root
        self.on_wait = on_wait or (lambda _: None)

    def folder(self, stage: str, key: str) -> Path:
        """Where an output is kept, made or not."""
        return self.root / "store" / stage / key

    def find(self, stage: str, key: str, *, contents: bool = True) -> Entry | None:
        """The finished entry, or None. A damaged one counts as absent, and stays where it is.

        `contents=False` compares sizes only: for looking at many entries without using them.
        """
        try:
            kept = manifest.read(self.folder(stage, key), hashed=manifest.HASHED if contents else 0)
        except manifest.DamagedError:
            return None
        return Entry(stage, key, self.folder(stage, key), kept, cached=True)

    def changed_code(self, stage: str, identity: Mapping[str, Any]) -> tuple[str, ...]:
        """The source files in which this output's code differs from that of the newest output alike in all else."""
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
        """The entry for `identity`, made by `build` if nobody made it yet.

        `identity` is everything that can change the content: code, settings, the keys of the inputs.
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
            entry = self.find(stage, key)  # somebody else may have made it while this process waited
            if entry is not None:
                return entry
            self._set_aside(folder)
            return self._adopt(stage, key) or self._build(stage, key, identity, build, resumable)

    def _adopt(self, stage: str, key: str) -> Entry | None:
        """An output that a predecessor finished, down to its manifest, and was killed before it could rename it."""
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
        draft = Draft(_prepared(_partial(folder), resumable))
        try:
            # Here, because a disk that is full no longer looks so when the half-written output is gone.
            with explained(self.root, f"writing stage {stage!r}"):
                build(draft)
                seconds = round(time.perf_counter() - draft.started, 3)
                told = {"seconds": seconds, "facts": draft.facts, "notes": draft.notes}
                made = manifest.describe(draft.folder, leave_out=draft.scratch_names)
                kept = {"stage": stage, "key": key, **identity, **told, **made}
                write_json(draft.folder / MANIFEST, kept)
                return self._commit(Entry(stage, key, folder, kept, cached=False))
        except BaseException:
            if not resumable:  # a resumable stage goes on from its shards; anything else starts afresh
                shutil.rmtree(draft.folder, ignore_errors=True)
            raise

    def _commit(self, entry: Entry) -> Entry:
        """Make a partial folder with its manifest the entry."""
        partial = _partial(entry.folder)
        manifest.drop_unlisted(partial, entry.manifest)
        sync_folder(partial)
        partial.rename(entry.folder)
        sync_folder(entry.folder.parent)
        return entry

    def _set_aside(self, folder: Path) -> None:
        """Move what stands in an entry's place and is none. Only under the lock: else it might be somebody's new one."""
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
    """The key of a stage's output, made or not: a digest of all that can change it."""
    return digest({"stage": stage, **identity})


def _partial(folder: Path) -> Path:
    return folder.with_name(folder.name + ".partial")


def _prepared(partial: Path, resumable: bool) -> Path:
    """The folder to write into: as a killed predecessor left it where the stage goes on from that, else empty."""
    if partial.is_dir() and resumable:
        (partial / MANIFEST).unlink(missing_ok=True)
        remove_leftovers(partial)
        return partial
    if partial.is_dir():
        shutil.rmtree(partial)
    partial.unlink(missing_ok=True)
    partial.mkdir()
    return partial
