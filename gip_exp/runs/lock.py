"""One process at work on one run: a lock that dies with the process, and a file that says who it is or how it ended.

`run_lock.json` stands beside the result while a process works and stays when it ended badly. Whether the process is
alive is never read from the file: it holds the kernel's lock on `run_lock.lock` as long as it lives and not a moment
longer, however it dies. A file without a lock and without an end is a process that was killed.
"""

import fcntl
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Unpack, cast

from gip_exp.redaction import redact, secrets_in_environment
from gip_exp.runs import slurm
from gip_exp.runs.records import LockRecord
from gip_exp.storage.files import write_json
from gip_exp.storage.locks import held

MESSAGE = 2_000  # characters of an error that are kept


class Stopped(BaseException):
    """SIGTERM: preempted, out of time or cancelled. Not an error of the run; it goes on when started again."""


class RunLock:
    """The process's own entry in `run_lock.json`: host, pid, SLURM job, what it is doing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._record: LockRecord = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": time.time(),
            **slurm.own_job(os.environ),
        }

    def tell(self, **facts: Unpack[LockRecord]) -> None:
        """Add to the file; a file that cannot be written is no reason to stop (the lock says the essential)."""
        self._record.update(facts)
        with suppress(OSError):
            write_json(self._path, self._record)

    def end(self, error: BaseException) -> None:
        """Say how the process ended: an error of the run, or a stop from outside."""
        if isinstance(error, Exception):
            said = redact(f"{type(error).__name__}: {error}", secrets_in_environment())
            self.tell(ended=time.time(), error=said[:MESSAGE])
        else:
            # At once: SLURM kills what has not ended some seconds after SIGTERM, and may answer later than that.
            self.tell(ended=time.time(), stopped=type(error).__name__)
            self.tell(slurm_reason=slurm.why_stopped(slurm.own_job(os.environ).get("slurm_job")))


@contextmanager
def run_lock(folder: Path, name: str, on_wait: Callable[[str], None]) -> Iterator[RunLock]:
    """Be the only process at work on `folder`/`name`; a second one waits, whatever machine it is on."""
    waiting = f"another process is at work on {folder / name}: waiting for it"
    with held(_lock(folder, name), lambda: on_wait(waiting)):
        for leftover in folder.glob(
            f".{_path(folder, name).name}.*.tmp"
        ):  # of a process killed while it wrote
            leftover.unlink(missing_ok=True)
        mine = RunLock(_path(folder, name))
        mine.tell()
        try:
            yield mine
        except BaseException as error:
            mine.end(error)
            raise
        _path(folder, name).unlink(missing_ok=True)


def read(folder: Path, name: str) -> LockRecord:
    """What the last process said that did not end well, or is at work; empty if there is none."""
    try:
        facts = json.loads(_path(folder, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast(LockRecord, facts) if isinstance(facts, dict) else {}


def alive(folder: Path, name: str) -> bool:
    """Whether a process holds the lock now."""
    try:
        handle = os.open(_lock(folder, name), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


def look(folder: Path, name: str) -> tuple[bool, LockRecord]:
    """Whether a process is at work, and what it or the last one said, as of one moment.

    The lock is asked first: a process that ends between two questions has said how before it let go. One that begins
    between them has said no end while nobody held the lock, so the lock is asked again.
    """
    before = alive(folder, name)
    said = read(folder, name)
    return before or (bool(said) and "ended" not in said and alive(folder, name)), said


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM becomes `Stopped`, so that locks are let go and servers ended; a handler of somebody else's is left."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _stop(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: the unwinding must not be disturbed
    raise Stopped


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _lock(folder: Path, name: str) -> Path:
    return folder / f"{name}.lock"
