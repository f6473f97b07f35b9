"""A folder that several users share through a group: permissions of what is written there, and advice where they are missing."""

import os
import stat
from contextlib import suppress
from pathlib import Path

SHARE = "chgrp -R GROUP DIR, chmod -R g+rwX DIR and chmod g+s on its folders, and umask 002 for all who work there"


def allow_by_umask(folder: Path) -> None:
    """Give every file below `folder` the permissions that the umask allows, and folders those of `folder`.

    Some libraries (safetensors) write files that only their owner may read, whatever the umask is.
    """
    allowed = stat.S_IMODE(folder.stat().st_mode)
    for path in folder.rglob("*"):
        wanted = allowed if path.is_dir() else allowed & 0o666
        found = stat.S_IMODE(path.lstat().st_mode)
        if found & wanted != wanted and not path.is_symlink():
            with suppress(PermissionError):  # of another user
                path.chmod(found | wanted)


def closed_file(folder: Path) -> Path | None:
    """Return a file below `folder` that this user may not read, if any."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return next((path for path in paths if not os.access(path, os.R_OK)), None)


def remedy(path: Path) -> str:
    """Return what to do about `path`, an existing one or a new one, which this user may not write."""
    name = _owner(_existing(path))
    if not name:
        return "make it writable for this user, or choose another folder, e.g. paths.root=/tmp/gip"
    return f"it belongs to {name}: share it through a group ({SHARE}), or choose another folder, e.g. paths.root=/tmp/gip"


def unreadable(path: Path) -> str:
    """Return the message for a file that this user may not read."""
    name = _owner(_existing(path)) or "another user"
    return f"{path} cannot be read: it belongs to {name}; share paths.root through a group ({SHARE}), or choose another folder"


def _owner(path: Path) -> str:
    """Return the name of the owner, or the number if it has no name; '' if it is this user or cannot be told."""
    try:
        number = path.stat().st_uid
        return "" if number == os.geteuid() else path.owner()
    except KeyError:
        return f"user {number}"
    except OSError:
        return ""


def _existing(path: Path) -> Path:
    """Return the nearest folder above `path` that exists, or `path` itself."""
    place = path.absolute()
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    return place


def closed_to_group(root: Path) -> str:
    """Return a warning if a group shares `root` (chmod g+ws), but could not change what this process writes there."""
    shared = stat.S_ISGID | stat.S_IWGRP
    umask = os.umask(0o022)
    os.umask(umask)
    if _existing(root).stat().st_mode & shared != shared or not umask & 0o070:
        return ""
    return (
        f"a group shares paths.root={root}, but with umask {umask:03o} its other members cannot use or change what this "
        "run writes: umask 002 before the command"
    )
