"""The losses of a fine-tuning, and checks that it learnt something."""

import math
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from gip_exp.errors import UserError

History = list[dict[str, float]]  # one row per step: step, loss (nats per completion token), lr
ENOUGH = 12  # minimum steps to compare quarters, so that a quarter is more than one or two batches


def from_log(entries: Iterable[Mapping[str, Any]]) -> History:
    """Extract the steps from a trainer's log entries."""
    return [
        {"step": entry["step"], "loss": float(entry["loss"]), "lr": float(entry.get("learning_rate", 0))}
        for entry in entries
        if "loss" in entry
    ]


def quarters(history: History) -> tuple[float, float] | None:
    """Return the mean loss of the first and of the last quarter of the steps; None below ENOUGH steps."""
    if len(history) < ENOUGH:
        return None
    losses = [row["loss"] for row in history]
    n = len(losses) // 4
    return fmean(losses[:n]), fmean(losses[-n:])


def check_finite(history: History) -> None:
    """Raise UserError if a loss is not finite."""
    bad = next((row for row in history if not math.isfinite(row["loss"])), None)
    if bad is not None:
        raise UserError(f"training diverged: the loss is {bad['loss']} at step {bad['step']}; lower train.lr")


def check_fall(history: History) -> None:
    """Raise UserError if the mean loss of the last quarter is not below that of the first (from ENOUGH steps on).

    Means are compared because single batches differ in difficulty.
    """
    means = quarters(history)
    if means is not None and means[1] >= means[0]:
        raise UserError(
            f"training did not lower the loss: its mean is {means[0]:.4f} over the first quarter of "
            f"{len(history)} steps and {means[1]:.4f} over the last; check train.lr, the data and the prompt format, or "
            "set train.require_loss_fall=false to evaluate the adapter anyway"
        )
