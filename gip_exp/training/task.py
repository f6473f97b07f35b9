"""The inputs and outputs of a fine-tuning, with conversion to JSON for other processes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from gip_exp.config.train import LoraTrain
from gip_exp.models.machine import Machine
from gip_exp.training.losses import History
from gip_exp.training.torchrun import qualified_name, resolve

Figures = Callable[[dict[str, float]], None]
OnSave = Callable[[Any, Path], None]


@dataclass(frozen=True)
class Task:
    """A fine-tuning.

    Attributes:
        rows: `input_ids` and `labels` of each example (`training.tokens`).
        train: Its settings.
        machine: Base model, precision, device.
        folder: Folder of the checkpoints, which include the optimiser state.
        adapter: Folder to save the adapter to, if any.
        start: Folder of an adapter to go on from; None for a new one.
        save_every: Steps between checkpoints, or one per epoch; None for no checkpoints.
        keep_all: Whether to keep all checkpoints instead of the last one.
        on_save: Called with (trainer, checkpoint) after every save. A function of a module, so that other processes
            can import it.
    """

    rows: list[dict[str, list[int]]]
    train: LoraTrain
    machine: Machine
    folder: Path
    adapter: Path | None = None
    start: Path | None = None
    save_every: int | Literal["epoch"] | None = None
    keep_all: bool = False
    on_save: OnSave | None = None

    @property
    def steps(self) -> int:
        """Optimiser steps without packing."""
        return total_steps(self.train, len(self.rows))


@dataclass(frozen=True)
class Finetuned:
    """The result of a fine-tuning.

    Attributes:
        history: Loss and learning rate of every step.
        figures: trainable_parameters; and since the last resume, if any: seconds, tokens (prompt and completion),
            tokens_per_second, peak_memory_bytes and peak_gpu_bytes (of one process).
    """

    history: History
    figures: dict[str, float | None]


def steps_per_epoch(train: LoraTrain, n_rows: int) -> int:
    """Return the optimiser steps of one pass over the rows."""
    return math.ceil(n_rows / train.batch)


def total_steps(train: LoraTrain, n_rows: int) -> int:
    """Return the optimiser steps of the training."""
    if train.steps is not None:
        return train.steps
    assert train.epochs is not None
    return max(1, math.ceil(train.epochs * steps_per_epoch(train, n_rows)))


def as_json(task: Task) -> dict[str, Any]:
    """Convert the task to JSON values."""
    return {
        "rows": task.rows,
        "train": task.train.model_dump(mode="json"),
        "machine": asdict(task.machine),
        "folder": str(task.folder),
        "adapter": None if task.adapter is None else str(task.adapter),
        "start": None if task.start is None else str(task.start),
        "save_every": task.save_every,
        "keep_all": task.keep_all,
        "on_save": None if task.on_save is None else qualified_name(task.on_save),
    }


def from_json(values: Mapping[str, Any]) -> Task:
    """Restore a task from the values of `as_json`."""
    return Task(
        rows=values["rows"],
        train=LoraTrain.model_validate(values["train"]),
        machine=Machine(**values["machine"]),
        folder=Path(values["folder"]),
        adapter=None if values["adapter"] is None else Path(values["adapter"]),
        start=None if values["start"] is None else Path(values["start"]),
        save_every=values["save_every"],
        keep_all=values["keep_all"],
        on_save=None if values["on_save"] is None else resolve(values["on_save"]),
    )
