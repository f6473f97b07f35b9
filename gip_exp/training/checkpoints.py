"""Checkpoints from which a killed training can be resumed.

A trainer writes a checkpoint file by file, so an existing one may be incomplete. A checkpoint is used only if it has a
marker file, which is written last, and if its files match the marker. Resuming gives the same weights only under the
conditions of the checkpoint (processes, batch per device, library versions); under other conditions training restarts.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gip_exp.storage.files import file_sketch, write_json
from gip_exp.storage.sharing import allow_by_umask

MARK, CONDITIONS = "complete", "made_with.json"


def numbered(folder: Path) -> list[Path]:
    """Return the checkpoint folders in `folder`, in order of training."""
    return sorted(folder.glob("checkpoint-*"), key=step)


def step(checkpoint: Path) -> int:
    """Return the number of optimiser steps of a checkpoint."""
    return int(checkpoint.name.rsplit("-", 1)[1])


def mark_complete(checkpoint: Path) -> None:
    """Write the marker of a checkpoint. Call it after every process has written its part."""
    allow_by_umask(checkpoint)  # so that another user of a shared store can go on from it
    write_json(checkpoint / MARK, _files(checkpoint))


def is_complete(checkpoint: Path) -> bool:
    """Return whether a checkpoint matches its marker; a power cut may have undone recent writes."""
    marked = _read(checkpoint / MARK)
    return marked is not None and marked == _files(checkpoint)


def _files(checkpoint: Path) -> dict[str, str]:
    """Return the sketch of every file except the marker, by relative path."""
    paths = (path for path in sorted(checkpoint.rglob("*")) if path.is_file() and path != checkpoint / MARK)
    return {str(path.relative_to(checkpoint)): file_sketch(path) for path in paths}


def resumable(folder: Path, conditions: Mapping[str, Any]) -> Path | None:
    """Return the last complete checkpoint in `folder`, or None; remove those that cannot be used."""
    folder.mkdir(parents=True, exist_ok=True)
    if _read(folder / CONDITIONS) != dict(conditions):
        clear(folder)
        write_json(folder / CONDITIONS, dict(conditions))
    for checkpoint in numbered(folder):
        if not (checkpoint / MARK).exists():
            shutil.rmtree(checkpoint)
    while (found := numbered(folder)) and not is_complete(found[-1]):
        shutil.rmtree(found[-1])
    return found[-1] if found else None


def keep_only(checkpoint: Path) -> None:
    """Remove all other checkpoints; this one must be marked as complete."""
    for other in numbered(checkpoint.parent):
        if other != checkpoint:
            shutil.rmtree(other)


def clear(folder: Path) -> None:
    """Remove every checkpoint in `folder`."""
    for checkpoint in numbered(folder):
        shutil.rmtree(checkpoint)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
