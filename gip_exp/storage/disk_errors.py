"""What goes wrong with the disk below `paths.root`, said as what to do about it.

Libraries report a full disk in words of their own: Python as OSError, PyTorch as RuntimeError without a reason, those
written in Rust as exceptions of their own with the system's words inside, NumPy as an OSError without a number. So the
whole chain of causes is looked at, and where that says nothing the disk is asked.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gip_exp.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
BROKEN = (errno.EIO, errno.ESTALE)
PROBE = 2**20  # bytes that a disk with room for anything takes
KEPT = "what is finished is kept, and the same command goes on from there"


@contextmanager
def explained(root: Path, doing: str) -> Iterator[None]:
    """Errors of the disk below `root` as UserError with a remedy; `doing` says what was going on. Others pass."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if problem := trouble(error, root):
            raise UserError(problem.format(doing=doing)) from error
        raise


def writable(folder: Path) -> bool:
    """Whether files can be made in an existing folder, as far as its mode and its file system say."""
    return os.access(folder, os.W_OK | os.X_OK)


def make_folder(folder: Path, root: Path) -> None:
    """Make a folder below `root` that can be written to. Raises UserError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        known = trouble(error, root).format(doing=f"making {folder}")
        raise UserError(known or f"paths.root={root} cannot be written ({error}): {_WRITABLE}") from error
    if not writable(folder):
        raise UserError(f"paths.root={root} cannot be written (no permission for {folder}): {_WRITABLE}")


def trouble(error: BaseException, root: Path) -> str:
    """What is wrong with the disk below `root` if that is what `error` comes from, with {doing} to fill in; else ''."""
    place = str(root).replace("{", "{{").replace("}", "}}")
    for one in _chain(error):
        number = _number(one)
        if number in FULL:
            return f"no space left below {place} while {{doing}} ({os.strerror(number)}): {_ROOM}"
        if number in DENIED and _below(one, root):
            return (
                f"paths.root={place} cannot be written ({os.strerror(number)}) while {{doing}}: {_WRITABLE}"
            )
        if number in BROKEN:
            return (
                f"the disk of paths.root={place} failed while {{doing}} ({os.strerror(number)}): check it, or give "
                f"another folder (paths.root=DIR); {KEPT}"
            )
    if isinstance(error, OSError | RuntimeError) and _is_full(root):
        return f"no space left below {place} while {{doing}}: {_ROOM}"
    return ""


_ROOM = f"free some space or point paths.root at another disk, then run again; {KEPT}"
_WRITABLE = "make it writable for this user, or choose another folder, e.g. paths.root=/tmp/gip"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _number(error: BaseException) -> int | None:
    """The system's error number: the exception's own, or the one whose words it repeats."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    text = str(error)
    return next((number for number in (*FULL, errno.EROFS) if f"os error {number})" in text), None)


def _below(error: BaseException, root: Path) -> bool:
    """Whether the error names a file below `root`, or none at all."""
    names = [name for name in (getattr(error, "filename", None), getattr(error, "filename2", None)) if name]
    return not names or any(
        Path(os.fsdecode(name)).absolute().is_relative_to(root.absolute()) for name in names
    )


def _is_full(root: Path) -> bool:
    """Whether a little more does not fit. Half-written files must still be there, so ask before they are removed."""
    probe = root / f".room.{os.getpid()}.tmp"
    try:
        probe.write_bytes(bytes(PROBE))
    except OSError as error:
        return error.errno in FULL
    finally:
        with suppress(OSError):
            probe.unlink()
    return False
