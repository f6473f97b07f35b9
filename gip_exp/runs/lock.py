"""The run lock: one process per run, with a record of which process it is and how it ended.

`run_lock.json` exists while a process works on the run, and stays if it failed. Whether the process is alive is never
read from this file: the process holds a kernel lock on `run_lock.lock`, which the kernel releases when it exits for
any reason. A record without a lock and without an end belongs to a process that was killed.
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

MESSAGE = 2_000  # maximum characters of a recorded error


class Stopped(BaseException):
    """SIGTERM: preempted, out of time or cancelled. Not an error of the run, which continues when started again."""


class RunLock:
    """The record of this process in `run_lock.json`: host, pid, SLURM job, current stage."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._record: LockRecord = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": time.time(),
            **slurm.own_job(os.environ),
        }

    def update(self, **facts: Unpack[LockRecord]) -> None:
        """Add to the file; a file that cannot be written is no reason to stop (the lock says the essential)."""
        self._record.update(facts)
        with suppress(OSError):
            write_json(self._path, self._record)

    def end(self, error: BaseException) -> None:
        """Record how the process ended: an error of the run, or a stop from outside."""
        if isinstance(error, Exception):
            said = redact(f"{type(error).__name__}: {error}", secrets_in_environment())
            self.update(ended=time.time(), error=said[:MESSAGE])
        else:
            # Written first, because SLURM kills the process some seconds after SIGTERM and may answer later than that.
            self.update(ended=time.time(), stopped=type(error).__name__)
            self.update(slurm_reason=slurm.why_stopped(slurm.own_job(os.environ).get("slurm_job")))


@contextmanager
def run_lock(folder: Path, name: str, on_wait: Callable[[str], None]) -> Iterator[RunLock]:
    """Be the only process that works on `folder`/`name`; a second one waits, on any machine."""
    waiting = f"another process is at work on {folder / name}: waiting for it"
    with held(_lock(folder, name), lambda: on_wait(waiting)):
        for leftover in folder.glob(
            f".{_path(folder, name).name}.*.tmp"
        ):  # of a process killed while it wrote
            leftover.unlink(missing_ok=True)
        mine = RunLock(_path(folder, name))
        mine.update()
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
    """Return whether a process holds the lock now."""
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

    The lock is checked first: a process that ends between the two steps has recorded how before it released the lock.
    One that starts between them has a record without an end while the lock seemed free, so the lock is checked again.
    """
    before = alive(folder, name)
    said = read(folder, name)
    return before or (bool(said) and "ended" not in said and alive(folder, name)), said


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn SIGTERM into `Stopped`, so that locks are released and servers ended; a foreign handler is not replaced."""
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
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second signal must not interrupt the clean-up
    raise Stopped


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _lock(folder: Path, name: str) -> Path:
    return folder / f"{name}.lock"
