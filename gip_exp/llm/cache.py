"""The reply cache: every reply is written to disk before it is used.

A folder of append-only JSON-lines files, one per writing process, because appends from two machines are not
atomic on a network file system. A line is written with one unbuffered write, so a killed process loses at most
the line it was writing; readers skip a truncated line. Replies are indexed by key and read back from disk, so
memory does not grow with their length.

Lines: {"key", "text", "finish_reason", "refusal", "prompt_tokens", "cached_tokens", "completion_tokens",
"estimated", "model", "problem", "batch", "time"} (see `Reply`) and {"gave_up": {key: attempts}, "time"} (see `Cache.give_up`).
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gip_exp.llm.errors import LLMError
from gip_exp.llm.request import Reply

_STORED = tuple(f.name for f in fields(Reply) if f.name != "cached")
_SYNC_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class _Place:
    """Location of a reply: file, byte offset, length, and when it was received (the first one counts)."""

    file: str
    offset: int
    length: int
    time: float


class Cache:
    """Replies by key in a folder that any number of processes may share.

    Args:
        folder: created if needed.
        refresh_s: maximum age of the index of other processes' files when a key is not found, in seconds.

    Raises:
        LLMError: the folder cannot be created.
    """

    def __init__(self, folder: Path, *, refresh_s: float = 0.2) -> None:
        self.folder = Path(folder)
        self.torn_lines = 0
        self._refresh_s = refresh_s
        self._refreshed = float("-inf")
        self._index: dict[bytes, _Place] = {}
        self._gave_up: dict[str, int] = {}
        self._read_to: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._out: int | None = None
        self._name = _own_name()
        self._size = 0
        self._truncated = False
        self._synced = time.monotonic()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LLMError(f"the reply cache {self.folder} cannot be created: {error.strerror}.") from error
        self.refresh()

    def __len__(self) -> int:
        return len(self._index)

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, key: str) -> Reply | None:
        """Return the reply for `key`, or None; reads the files of other processes if it is not known yet."""
        place = self._index.get(bytes.fromhex(key))
        if place is None and time.monotonic() - self._refreshed >= self._refresh_s:
            self.refresh()
            place = self._index.get(bytes.fromhex(key))
        if place is None:
            return None
        entry = _parse(self._read(place))
        if entry is None or entry.get("key") != key:
            raise LLMError(
                f"the reply cache {self.folder / place.file} changed while it was read; its files must only be "
                "appended to. Start again."
            )
        return reply_of(entry)

    def put(self, key: str, reply: Reply) -> None:
        """Store a reply. The first reply for a key is used; a later one is written but not used."""
        entry: dict[str, Any] = {"key": key}
        entry |= {name: getattr(reply, name) for name in _STORED} | {"time": time.time()}
        offset, length = self._append(entry)
        self._index.setdefault(bytes.fromhex(key), _Place(self._name, offset, length, entry["time"]))

    def items(self) -> Iterator[tuple[str, Reply]]:
        """Yield every key with the reply that is used for it, in the order of the keys."""
        for raw in sorted(self._index):
            reply = self.get(raw.hex())
            if reply is not None:
                yield raw.hex(), reply

    def marks(self) -> dict[str, int]:
        """Return the attempts that finished runs gave up, by key."""
        return dict(self._gave_up)

    def gave_up(self, key: str) -> int:
        """Return how many attempts finished runs have made for `key` (of attempt 0) without success."""
        return self._gave_up.get(key, 0)

    def give_up(self, attempts: Mapping[str, int]) -> None:
        """Record that a run ended with these keys unreadable after the given numbers of attempts.

        The next run continues with the next attempt number. All keys are in one line: a run killed before or while
        it is written has not ended, and the next run finishes it.
        """
        if attempts:
            self._append({"gave_up": dict(attempts), "time": time.time()})
            self._merge_gave_up(attempts)

    def refresh(self) -> None:
        """Index what other processes have appended since the last call."""
        self._refreshed = time.monotonic()
        with os.scandir(self.folder) as entries:
            names = sorted(e.name for e in entries if e.name.endswith(".jsonl") and e.name != self._name)
        for name in names:
            size = (self.folder / name).stat().st_size
            if size != self._seen.get(name):
                self._load(name)
                self._seen[name] = size

    def sync(self) -> None:
        """Flush writes to disk (needed for a power cut, not for a killed process)."""
        self._synced = time.monotonic()
        if self._out is not None:
            os.fsync(self._out)

    def close(self) -> None:
        """Sync and close this process's file. The cache can still be read, and reopens when written to."""
        if self._out is not None:
            self.sync()
            os.close(self._out)
            self._out = None

    def _append(self, entry: Mapping[str, Any]) -> tuple[int, int]:
        line = json.dumps(entry, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        # After an incomplete write, a leading newline keeps the next line intact.
        data = b"\n" + line if self._truncated else line
        try:
            if self._out is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
                self._out = os.open(self.folder / self._name, flags, 0o644)
                self._size = os.fstat(self._out).st_size
            written = 0
            while written < len(data):
                written += os.write(self._out, data[written:])
        except OSError as error:
            self._truncated = True
            self._size = os.fstat(self._out).st_size if self._out is not None else 0
            raise LLMError(
                f"the reply cache {self.folder} cannot be written ({error.strerror}), so replies that "
                "are paid for would be lost. Free space or choose another folder and start again."
            ) from error
        self._truncated = False
        self._size += len(data)
        if time.monotonic() - self._synced > _SYNC_EVERY_S:
            self.sync()
        return self._size - len(line), len(line)

    def _read(self, place: _Place) -> bytes:
        with open(self.folder / place.file, "rb") as file:
            file.seek(place.offset)
            return file.read(place.length)

    def _load(self, name: str) -> None:
        """Index the complete lines of a file from where the last call ended."""
        with open(self.folder / name, "rb") as file:
            offset = self._read_to.get(name, 0)
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # being written, or truncated: read again when the file grows
                self._take(name, offset, line)
                offset += len(line)
        self._read_to[name] = offset

    def _take(self, name: str, offset: int, line: bytes) -> None:
        entry = _parse(line)
        if entry is None:
            self.torn_lines += line.strip() != b""
        elif "gave_up" in entry:
            self._merge_gave_up(entry["gave_up"])
        else:
            key, place = bytes.fromhex(entry["key"]), _Place(name, offset, len(line), entry["time"])
            known = self._index.get(key)
            # Two processes may have asked at the same time; all readers use the earlier reply.
            if known is None or (place.time, place.file) < (known.time, known.file):
                self._index[key] = place

    def _merge_gave_up(self, attempts: Mapping[str, int]) -> None:
        for key, count in attempts.items():
            self._gave_up[key] = max(count, self._gave_up.get(key, 0))


def _own_name() -> str:
    host = re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname())[:40]
    return f"replies-{host}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return the entry of a line, or None for a truncated or foreign line."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return parse_entry(entry)


def parse_entry(entry: object) -> dict[str, Any] | None:
    """Return a decoded line if it is a whole entry of a cache, else None."""
    if not isinstance(entry, dict):
        return None
    if "gave_up" in entry:
        marks = entry["gave_up"]
        whole = isinstance(marks, dict) and all(isinstance(n, int) for n in marks.values())
        return entry if whole else None
    key = entry.get("key")
    whole = isinstance(key, str) and re.fullmatch(r"[0-9a-f]{32}", key) is not None
    whole = whole and isinstance(entry.get("text"), str) and isinstance(entry.get("time"), int | float)
    return entry if whole else None


def reply_of(entry: Mapping[str, Any]) -> Reply:
    """Return the reply in an entry."""
    known = {name: entry[name] for name in _STORED if name in entry}
    return Reply(**known, cached=True)
