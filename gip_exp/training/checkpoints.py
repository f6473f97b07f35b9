"""A trainer's checkpoints as something to go on from after a kill.

A trainer writes a checkpoint file by file, so one that exists may be half a checkpoint: only those with the mark, set
when everything is on disk, count, and only as long as their files are those that the mark lists. And a checkpoint goes
on to the same weights only under the conditions that it was made under (processes, batch a pass, library versions):
under others the folder starts afresh.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gip_exp.storage.files import file_sketch, write_json

MARK, CONDITIONS = "complete", "made_with.json"


def numbered(folder: Path) -> list[Path]:
    """The checkpoint folders below `folder`, in order of training."""
    return sorted(folder.glob("checkpoint-*"), key=step)


def step(checkpoint: Path) -> int:
    """How many optimiser steps a checkpoint has behind it."""
    return int(checkpoint.name.rsplit("-", 1)[1])


def seal(checkpoint: Path) -> None:
    """Mark a checkpoint as whole. Call it when every process has written its part."""
    write_json(checkpoint / MARK, _files(checkpoint))


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint is marked and as it was then: a power cut may take back what was written shortly before."""
    marked = _read(checkpoint / MARK)
    return marked is not None and marked == _files(checkpoint)


def _files(checkpoint: Path) -> dict[str, str]:
    """Relative path and sketch of every file but the mark."""
    paths = (path for path in sorted(checkpoint.rglob("*")) if path.is_file() and path != checkpoint / MARK)
    return {str(path.relative_to(checkpoint)): file_sketch(path) for path in paths}


def resumable(folder: Path, conditions: Mapping[str, Any]) -> Path | None:
    """The last whole checkpoint below `folder`, or None; what cannot be gone on from is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    if _read(folder / CONDITIONS) != dict(conditions):
        clear(folder)
        write_json(folder / CONDITIONS, dict(conditions))
    for checkpoint in numbered(folder):
        if not (checkpoint / MARK).exists():
            shutil.rmtree(checkpoint)
    while (found := numbered(folder)) and not is_whole(found[-1]):
        shutil.rmtree(found[-1])
    return found[-1] if found else None


def keep_only(checkpoint: Path) -> None:
    """Remove the checkpoints before this one, which must be sealed."""
    for other in numbered(checkpoint.parent):
        if other != checkpoint:
            shutil.rmtree(other)


def clear(folder: Path) -> None:
    """Remove every checkpoint below `folder`."""
    for checkpoint in numbered(folder):
        shutil.rmtree(checkpoint)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
