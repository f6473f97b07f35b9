"""One process at a time: the kernel's lock on a file, which dies with its holder, however that dies and whatever a clock says."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gip_exp.errors import UserError

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextmanager
def held(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock at `path`; `on_wait` is called once when another process has it, whose end is then awaited.

    Raises UserError where the file system has no locks or the lock file is somebody else's.
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
    """The lock at `path`, not yet held. Never filelock's substitute, a file that stays when its owner is killed."""
    return FileLock(path, fallback_to_soft=False)


def _acquire(lock: FileLock, timeout: float) -> None:
    try:
        lock.acquire(timeout=timeout)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise UserError(_no_locks(lock)) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise UserError(
                f"the lock file {lock.lock_file} cannot be opened ({error.strerror}): it belongs to another user, or the "
                "folder does; share paths.root within a group (umask 002), or choose a folder of your own"
            ) from error
        raise


def _no_locks(lock: FileLock) -> str:
    return (
        f"the file system of {lock.lock_file} has no file locks (flock), so processes could not share it safely: "
        "mount it with locks (Lustre: -o flock), or choose another folder for paths.root"
    )
