"""The losses of a fine-tuning, and checks that it learnt something."""

import math
from collections.abc import Iterable, Mapping
from statistics import fmean, variance
from typing import Any

from gip_exp.errors import UserError

History = list[dict[str, float]]  # one row per step: step, loss (nats per completion token), lr
ENOUGH = 12  # minimum steps to compare quarters, so that a quarter is more than one or two batches
MARGIN = 3.0  # standard errors that chance is given
WORTH = 0.01  # share of the loss by which a training that works lowers it at least


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


def check_fall(history: History) -> str:
    """Return a doubt about a loss that did not fall, '' if it fell or the steps are fewer than ENOUGH.

    The means of the first and the last quarter are compared, because single batches differ in difficulty. With few steps and
    varied rows the means differ by chance too: in good trainings of 16 steps on Alpaca, 7 of 16 did not fall. So only a fall
    that MARGIN standard errors of that difference cannot bring to WORTH of the loss is an error.

    Raises:
        UserError: the loss did not fall, and that is no chance.
    """
    means = quarters(history)
    if means is None or means[1] < means[0]:
        return ""
    first, last = means
    said = (
        f"its mean is {first:.4f} over the first quarter of {len(history)} steps and {last:.4f} over the last"
    )
    margin = MARGIN * _standard_error([row["loss"] for row in history])
    if first - last + margin < WORTH * first:
        raise UserError(
            f"training did not lower the loss: {said}; check train.lr, the data and the prompt format, or "
            "set train.require_loss_fall=false to evaluate the adapter anyway"
        )
    return (
        f"the training loss did not fall: {said}; the steps differ so much that this may be chance (up to {margin:.2f}): "
        "look at the evaluation against the untuned model, or train for more steps"
    )


def _standard_error(losses: list[float]) -> float:
    """Return the standard error of the difference between the means of the first and the last quarter."""
    n = len(losses) // 4
    return math.sqrt((variance(losses[:n]) + variance(losses[-n:])) / n)
