"""A fine-tuning as data: what is trained on what, where, and what it left; as JSON for other processes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from gip_exp.config.train import LoraTrain
from gip_exp.models.machine import Machine
from gip_exp.training.losses import History
from gip_exp.training.torchrun import function_at, place_of

Figures = Callable[[dict[str, float]], None]
OnSave = Callable[[Any, Path], None]


@dataclass(frozen=True)
class Task:
    """A fine-tuning: the rows (`input_ids` and `labels`, see `training.tokens`), how, where, and what is kept.

    Checkpoints with optimiser state go below `folder` every `save_every` steps or once an epoch (None: none); all of
    them stay with `keep_all`, else the last. `on_save(trainer, checkpoint)` follows every save and must be a module's
    function, so that other processes find it. The adapter goes to `adapter`, if given.
    """

    rows: list[dict[str, list[int]]]
    train: LoraTrain
    machine: Machine
    folder: Path
    adapter: Path | None = None
    save_every: int | Literal["epoch"] | None = None
    keep_all: bool = False
    on_save: OnSave | None = None

    @property
    def steps(self) -> int:
        """Optimiser steps, where the rows are not packed."""
        return total_steps(self.train, len(self.rows))


@dataclass(frozen=True)
class Finetuned:
    """What a fine-tuning left: every step's loss and rate, and what it cost.

    `figures`: trainable_parameters, and of the part that this process saw (all of it, unless it went on from a
    checkpoint) seconds, tokens (prompt and completion), tokens_per_second, peak_memory_bytes and peak_gpu_bytes (of
    one process).
    """

    history: History
    figures: dict[str, float | None]


def steps_per_epoch(train: LoraTrain, n_rows: int) -> int:
    """Optimiser steps that one pass over the rows takes."""
    return math.ceil(n_rows / train.batch)


def total_steps(train: LoraTrain, n_rows: int) -> int:
    """Optimiser steps of the whole run."""
    if train.steps is not None:
        return train.steps
    assert train.epochs is not None
    return max(1, math.ceil(train.epochs * steps_per_epoch(train, n_rows)))


def as_json(task: Task) -> dict[str, Any]:
    """The task for another process."""
    return {
        "rows": task.rows,
        "train": task.train.model_dump(mode="json"),
        "machine": asdict(task.machine),
        "folder": str(task.folder),
        "adapter": None if task.adapter is None else str(task.adapter),
        "save_every": task.save_every,
        "keep_all": task.keep_all,
        "on_save": None if task.on_save is None else place_of(task.on_save),
    }


def from_json(values: Mapping[str, Any]) -> Task:
    """The task that `as_json` wrote."""
    return Task(
        rows=values["rows"],
        train=LoraTrain.model_validate(values["train"]),
        machine=Machine(**values["machine"]),
        folder=Path(values["folder"]),
        adapter=None if values["adapter"] is None else Path(values["adapter"]),
        save_every=values["save_every"],
        keep_all=values["keep_all"],
        on_save=None if values["on_save"] is None else function_at(values["on_save"]),
    )
