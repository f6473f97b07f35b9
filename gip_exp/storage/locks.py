"""Mutual exclusion of processes by kernel file locks, which the kernel releases when their owner exits for any reason."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gip_exp.errors import UserError

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextmanager
def held(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock at `path` during the block.

    Args:
        path: The lock file.
        on_wait: Called once if another process holds the lock, before waiting for it.

    Raises:
        UserError: the file system has no locks, or the lock file belongs to another user.
    """
    lock = kernel_lock(path)
    try:
        _acquire(lock, 0.05)
    except Timeout:
        on_wait()
        _acquire(lock, -1)
    try:
        yield
    finally:
        lock.release()


def kernel_lock(path: Path) -> FileLock:
    """Return the lock at `path`, not held, without filelock's fallback to a file that survives its owner."""
    return FileLock(path, fallback_to_soft=False)


def _acquire(lock: FileLock, timeout: float) -> None:
    try:
        lock.acquire(timeout=timeout)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise UserError(_no_locks(lock)) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise UserError(
                f"the lock file {lock.lock_file} cannot be opened ({error.strerror}): it, or its folder, belongs to another "
                "user; share paths.root within a group (umask 002), or choose a folder of your own"
            ) from error
        raise


def _no_locks(lock: FileLock) -> str:
    return (
        f"the file system of {lock.lock_file} has no file locks (flock), so processes cannot share it safely: "
        "mount it with locks (Lustre: -o flock), or choose another folder for paths.root"
    )
