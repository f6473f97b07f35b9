"""What the losses of a fine-tuning say: whether it is a result at all."""

import math
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from gip_exp.errors import UserError

History = list[dict[str, float]]  # one row a step: step, loss (nats a completion token), lr
ENOUGH = 12  # steps from which on a quarter of them is more than one or two batches


def from_log(entries: Iterable[Mapping[str, Any]]) -> History:
    """The steps among a trainer's log entries."""
    return [
        {"step": entry["step"], "loss": float(entry["loss"]), "lr": float(entry.get("learning_rate", 0))}
        for entry in entries
        if "loss" in entry
    ]


def quarters(history: History) -> tuple[float, float] | None:
    """Mean loss of the first and of the last quarter of the steps; None for fewer than ENOUGH."""
    if len(history) < ENOUGH:
        return None
    losses = [row["loss"] for row in history]
    n = len(losses) // 4
    return fmean(losses[:n]), fmean(losses[-n:])


def check_finite(history: History) -> None:
    """Raise UserError for a loss that is no number."""
    bad = next((row for row in history if not math.isfinite(row["loss"])), None)
    if bad is not None:
        raise UserError(f"training diverged: the loss is {bad['loss']} at step {bad['step']}; lower train.lr")


def check_fall(history: History) -> None:
    """Raise UserError when the last quarter's mean loss is not below the first's (from ENOUGH steps on).

    Single batches are easier or harder than others, so means are compared; a run that is worth evaluating has learnt
    something from its own training data.
    """
    ends = quarters(history)
    if ends is not None and ends[1] >= ends[0]:
        raise UserError(
            f"training did not lower the loss: its mean is {ends[0]:.4f} over the first quarter of "
            f"{len(history)} steps and {ends[1]:.4f} over the last; check train.lr, the data and the prompt format, or set "
            "train.require_loss_fall=false to evaluate the adapter all the same"
        )
