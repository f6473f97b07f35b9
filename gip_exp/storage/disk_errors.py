"""Errors of the disk below `paths.root` as messages that say what to do.

Libraries report a full disk in different ways: Python as OSError, PyTorch as RuntimeError without a reason, Rust
libraries as their own exceptions with the system's message, NumPy as OSError without a number. Therefore the whole chain
of causes is examined; if it is inconclusive, a test file is written.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gip_exp.errors import UserError
from gip_exp.storage.sharing import remedy

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
BROKEN = (errno.EIO, errno.ESTALE)
PROBE = 2**20  # bytes of the test file
KEPT = "finished work is kept; run the same command to continue"


@contextmanager
def explained(root: Path, doing: str) -> Iterator[None]:
    """Convert disk errors below `root` to UserError with a remedy; `doing` names the operation."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if problem := disk_problem(error, root):
            raise UserError(problem.format(doing=doing)) from error
        raise


def writable(folder: Path) -> bool:
    """Return whether files can be created in an existing folder, by its permissions and file system."""
    return os.access(folder, os.W_OK | os.X_OK)


def make_folder(folder: Path, root: Path) -> None:
    """Create a folder below `root`. Raises UserError if it is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        known = disk_problem(error, root).format(doing=f"making {folder}")
        raise UserError(
            known or f"paths.root={root} cannot be written ({error}): {remedy(folder)}"
        ) from error
    if not writable(folder):
        raise UserError(f"paths.root={root} cannot be written (no permission for {folder}): {remedy(folder)}")


def disk_problem(error: BaseException, root: Path) -> str:
    """Return the message for an error caused by the disk below `root`, with {doing} to fill in; '' for other errors."""
    place = str(root).replace("{", "{{").replace("}", "}}")
    for cause in _chain(error):
        number = _number(cause)
        if number in FULL:
            return f"no space left below {place} while {{doing}} ({os.strerror(number)}): {_ROOM}"
        if number in DENIED and _below(cause, root):
            advice = remedy(Path(os.fsdecode(getattr(cause, "filename", None) or root)))
            advice = advice.replace("{", "{{").replace("}", "}}")
            return f"paths.root={place} cannot be written ({os.strerror(number)}) while {{doing}}: {advice}"
        if number in BROKEN:
            return (
                f"the disk of paths.root={place} failed while {{doing}} ({os.strerror(number)}): check it, or use "
                f"another folder (paths.root=DIR); {KEPT}"
            )
    if isinstance(error, OSError | RuntimeError) and _is_full(root):
        return f"no space left below {place} while {{doing}}: {_ROOM}"
    return ""


_ROOM = f"free some space, or set paths.root to another disk; {KEPT}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _number(error: BaseException) -> int | None:
    """Return the system error number of an exception, from its attribute or its message."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    text = str(error)
    return next((number for number in (*FULL, errno.EROFS) if f"os error {number})" in text), None)


def _below(error: BaseException, root: Path) -> bool:
    """Return whether the error names a file below `root`, or none at all."""
    names = [name for name in (getattr(error, "filename", None), getattr(error, "filename2", None)) if name]
    return not names or any(
        Path(os.fsdecode(name)).absolute().is_relative_to(root.absolute()) for name in names
    )


def _is_full(root: Path) -> bool:
    """Return whether a test file does not fit. Call before partial outputs are removed, which would free space."""
    probe = root / f".room.{os.getpid()}.tmp"
    try:
        probe.write_bytes(bytes(PROBE))
    except OSError as error:
        return error.errno in FULL
    finally:
        with suppress(OSError):
            probe.unlink()
    return False
