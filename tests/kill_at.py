"""Run a module and SIGKILL it at a chosen touch of a file: `python kill_at.py ROOT PLACE MODULE [argument ...]`.

A place is what happens to which file below ROOT, with keys, process ids and random parts of names replaced:
`open store/train/KEY.partial/losses.jsonl`. Python's audit hooks tell of opening, renaming, removing and making
folders before it happens; `opened`, `fsync` and `write` are seen by wrapping what Python code calls for them. Files that
compiled libraries write by themselves are not seen. With PLACE=list nothing is killed: every place that is passed is
printed once, in order, to the file `places` beside ROOT.
"""

import builtins
import io
import os
import re
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

EVENTS = (
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.truncate",
    "shutil.rmtree",
)  # the path comes first
NAMES = (
    (r"replies-[\w.-]+\.jsonl", "replies.jsonl"),
    (r"\b[0-9a-f]{16}\b", "KEY"),
    (r"\.(\d+\.tmp|[0-9a-f]{8})$", ".TMP"),
    (r"(?<=^runs/)[^/]+/[^/]+", "RUN"),
    (r"(?<=checkpoint-)\d+", "N"),
)
PLACES = "places"  # of a run that is not killed


def place(event: str, path: Any, root: str) -> str | None:
    """What happens where, in words that are the same in every run; None outside `root`."""
    if isinstance(path, int):
        path = f"/proc/self/fd/{path}"
        path = os.readlink(path) if os.path.islink(path) else ""
    try:
        text = os.path.abspath(os.fsdecode(path))
    except (TypeError, ValueError):
        return None
    if not text.startswith(root + os.sep):
        return None
    text = text[len(root) + 1 :]
    for pattern, name in NAMES:
        text = re.sub(pattern, name, text)
    return f"{event} {text}"


def _writes(mode: Any, flags: Any) -> bool:
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def watch(root: str, reached: Callable[[str], None]) -> None:
    """Call `reached(place)` for everything that happens to files below `root` from now on."""

    def tell(event: str, path: Any) -> None:
        found = place(event, path, root)
        if found is not None:
            reached(found)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and _writes(arguments[1], arguments[2]):
            tell("open", arguments[0])
        elif event in EVENTS:
            tell(event.removeprefix("os.").removeprefix("shutil."), arguments[0])

    sys.addaudithook(hook)
    fsync, write, python_open = os.fsync, os.write, io.open

    def opened(file: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        stream = python_open(file, mode, *rest, **options)
        if _writes(mode, None):
            tell("opened", file)
        return stream

    def synced(handle: int) -> None:
        tell("fsync", handle)
        fsync(handle)

    def written(handle: int, data: Any) -> int:
        tell("write", handle)
        return write(handle, data)

    os.fsync, os.write, io.open, builtins.open = synced, written, opened, opened  # type: ignore[assignment]


def main(root: str, where: str, module: str, arguments: list[str]) -> None:
    """Run the module as `python -m` would; it ends itself at the place, without any farewell."""
    passed: set[str] = set()
    log = None if where != "list" else (Path(root).parent / PLACES).open("a", buffering=1, encoding="utf-8")

    def reached(here: str) -> None:
        if log is None:
            if here == where:
                os.kill(os.getpid(), signal.SIGKILL)
        elif here not in passed:
            passed.add(here)
            log.write(here + "\n")

    watch(os.path.abspath(root), reached)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
