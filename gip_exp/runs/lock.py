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
    """The process received SIGTERM (preempted, out of time or cancelled). A new process can continue the run."""


class RunLock:
    """The record of this process in `run_lock.json`: host, pid, SLURM job, current stage."""

    def __init__(self, path: Path) -> None:
        self._path, self._writing = path, threading.Lock()
        self._record: LockRecord = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": time.time(),
            **slurm.own_job(os.environ),
        }

    def update(self, **facts: Unpack[LockRecord]) -> None:
        """Update the record. Write errors are ignored: the lock itself does not depend on the file."""
        with self._writing, suppress(OSError):  # a thread reports progress
            self._record.update(facts)
            write_json(self._path, self._record)

    def end(self, error: BaseException) -> None:
        """Record how the process ended: an error of the run, or a stop from outside."""
        if isinstance(error, Exception):
            message = redact(f"{type(error).__name__}: {error}", secrets_in_environment())
            self.update(ended=time.time(), error=message[:MESSAGE])
        else:
            # First without the reason: SLURM kills the process seconds after SIGTERM, possibly before it answers.
            self.update(ended=time.time(), stopped=type(error).__name__)
            self.update(slurm_reason=slurm.why_stopped(slurm.own_job(os.environ).get("slurm_job")))


@contextmanager
def run_lock(folder: Path, name: str, on_wait: Callable[[str], None]) -> Iterator[RunLock]:
    """Hold the lock `folder`/`name` during the block, on any machine that shares the folder.

    Args:
        folder: Folder of the lock.
        name: Its name, without ending.
        on_wait: Called with a message if another process holds the lock, before waiting for it.
    """
    waiting = f"another process is working on {folder / name}: waiting for it"
    with held(_lock(folder, name), lambda: on_wait(waiting)):
        for leftover in folder.glob(
            f".{_path(folder, name).name}.*.tmp"
        ):  # of processes killed while writing
            leftover.unlink(missing_ok=True)
        record = RunLock(_path(folder, name))
        record.update()
        try:
            yield record
        except BaseException as error:
            record.end(error)
            raise
        _path(folder, name).unlink(missing_ok=True)


def read(folder: Path, name: str) -> LockRecord:
    """Read the record of the running process, or of the last one if it failed or was stopped; else empty."""
    try:
        record = json.loads(_path(folder, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast(LockRecord, record) if isinstance(record, dict) else {}


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
    """Return (whether a process is running, the record), consistent with each other.

    The lock is checked before the record is read: a process that ends in between has completed its record before it
    released the lock. If the lock was free but the record has no end, a process may have started in between, so the lock
    is checked again.
    """
    running = alive(folder, name)
    record = read(folder, name)
    return running or (bool(record) and "ended" not in record and alive(folder, name)), record


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise `Stopped` on SIGTERM, so that locks are released and servers ended; other handlers are not replaced."""
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
