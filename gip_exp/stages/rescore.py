"""`score/tuned-1`, ...: the loss of each completion with and without its prompt, under the model tuned in a round.

Rows are tokenised as for training. Writes `losses.npy`, (n, 2) float32 in nats per token, NaN for rows without a loss. A killed
stage continues from the finished shards.
"""

import json
from functools import partial
from typing import Any

import numpy as np

from gip_exp.artifacts import ADAPTER, read_pool
from gip_exp.config import Config
from gip_exp.config.base import content
from gip_exp.config.train import LoraTrain
from gip_exp.models import loading
from gip_exp.models.completion_losses import tuned_loss_encoder
from gip_exp.models.machine import machine
from gip_exp.models.prompts import renderer
from gip_exp.reselection import rescored
from gip_exp.stage import Entries, Job, Stage
from gip_exp.stages.losses import write_losses
from gip_exp.training.tokens import IGNORED, Row, training_rows


def after_round(number: int) -> Stage:
    """Return the stage that scores with the model tuned in a round."""
    tuned = f"train/{number}"

    def inputs(config: Config) -> tuple[str, ...]:
        return ("data", *(("base",) if config.model.made else ()), tuned)

    return Stage(
        rescored(number),
        inputs,
        _settings,
        partial(_build, tuned),
        loading.missing_requirements,
        resumable=True,
        needs_device=lambda _: True,
    )


def _settings(config: Config, _: Entries) -> dict[str, Any]:
    how = {name: getattr(config.train, name) for name in ("max_length", "too_long", "loss_on")}
    return {
        "rows": how,
        "prompt": content(config.model.prompt),
        "dtype": config.model.dtype,
        "model": loading.identity(config.model),
    }


def _build(tuned: str, job: Job) -> None:
    train, where = job.config.train, machine(job.config, job.inputs)
    assert isinstance(train, LoraTrain)
    tokenizer = loading.load_tokenizer(where.place)
    examples = read_pool(job.inputs)
    found = training_rows(examples, renderer(job.config.model.prompt, tokenizer), tokenizer, train)
    texts = ["[[], 0]"] * len(examples)
    for number, row in zip(found.kept.tolist(), found.rows, strict=True):
        texts[number] = json.dumps([row["input_ids"], _start(row)])
    make = partial(
        tuned_loss_encoder,
        where.place,
        str(job.inputs[tuned].folder / ADAPTER),
        dtype=where.dtype,
        batch_size=train.micro_batch,
        device=where.device,
    )
    losses = write_losses(job, texts, make, f"train.max_length={train.max_length}", "use rounds=1")
    job.draft.facts["mean_loss"] = round(float(np.nanmean(losses[:, 0])), 6)


def _start(row: Row) -> int:
    """Return where the last stretch of tokens with a loss begins: the completion, or the last reply."""
    labels = row["labels"]
    end = max(at for at, label in enumerate(labels) if label != IGNORED)
    return max((at for at in range(end) if labels[at] == IGNORED), default=-1) + 1
