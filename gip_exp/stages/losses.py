"""`score/losses`: the loss of each completion with and without its prompt, under a small model, for IFD and perplexity.

Writes `losses.npy`, (n, 2) float32 in nats per token. A killed stage continues from the finished shards.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gip_exp.artifacts import ROW_LOSSES, read_pool
from gip_exp.config import Config
from gip_exp.config.model import Model
from gip_exp.errors import UserError
from gip_exp.models import loading
from gip_exp.models.completion_losses import loss_encoder
from gip_exp.models.shards import Encoder, collect, encode_shards, longest_first
from gip_exp.stage import Entries, Job, Stage


def _inputs(config: Config) -> tuple[str, ...]:
    selector: Any = config.selector
    return ("data", "base") if selector.model is None and config.model.made else ("data",)


def _model(config: Config) -> Model:
    """Return the model that gives the losses: the selector's, else that of the experiment."""
    selector: Any = config.selector
    if selector.model is None:
        return config.model
    return config.model.model_copy(
        update={"path": selector.model, "revision": selector.revision, "scratch": None}
    )


def _settings(config: Config, _: Entries) -> dict[str, Any]:
    selector: Any = config.selector
    return {
        "model": loading.identity(_model(config)),
        "dtype": config.model.dtype,
        "max_length": selector.max_length,
    }


def _build(job: Job) -> None:
    selector: Any = job.config.selector
    place = (
        loading.fetched(selector.model, selector.revision)
        if selector.model is not None
        else loading.location(job.config, job.inputs)
    )
    texts = [json.dumps([row["prompt"], row["completion"]]) for row in read_pool(job.inputs)]
    make = partial(
        loss_encoder,
        place,
        max_length=selector.max_length,
        dtype=job.config.model.dtype,
        batch_size=selector.batch_size,
        device=loading.device(job.config),
    )
    limit = f"selector.max_length={selector.max_length}"
    write_losses(job, texts, make, limit, "choose another selector")


def write_losses(
    job: Job, texts: Sequence[str], make: Callable[[], Encoder], limit: str, otherwise: str
) -> np.ndarray:
    """Compute and write the losses (n, 2), going on from the shards of a killed process; note rows without a loss.

    Args:
        job: The job of the stage.
        texts: What the encoder reads, a text per row.
        make: Loads the model and returns the encoder.
        limit: The setting that cuts rows, with its value, for messages.
        otherwise: What else helps where no row has a loss.

    Raises:
        UserError: no row has a loss.
    """
    folder, order = job.draft.scratch("shards"), longest_first(texts)
    with job.console.bar("losses of the completions", len(texts)) as bar:
        encode_shards(texts, order, make, folder, bar.advance)
    losses = collect(folder, order, job.folder / ROW_LOSSES)
    without = int(np.isnan(losses[:, 0]).sum())
    if without == len(losses):
        raise UserError(f"no completion has two tokens within {limit}: raise it, or {otherwise}")
    if without:
        job.note(
            f"{without:,} of {len(losses):,} completions have fewer than two tokens within {limit}: they are unscored and "
            "cannot be picked"
        )
    job.draft.facts.update(n=len(losses), n_unscored=without)
    return losses


def _missing(config: Config) -> list[str]:
    selector: Any = config.selector
    if selector.model is None:
        return loading.missing_requirements(config)
    return loading.missing_weights(selector.model, selector.revision, "selector.model")


STAGE = Stage(
    "score/losses", _inputs, _settings, _build, _missing, resumable=True, needs_device=lambda _: True
)
