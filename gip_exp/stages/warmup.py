"""`warmup` (LESS): a LoRA warm-up on a random share of the pool, one checkpoint an epoch with its optimiser state."""

from pathlib import Path
from typing import Any

import numpy as np

from gip_exp.artifacts import CHECKPOINTS, WEIGHTS, read_pool
from gip_exp.config import Config
from gip_exp.config.base import content
from gip_exp.config.selector import less
from gip_exp.data import split
from gip_exp.models import loading
from gip_exp.models.machine import machine, missing
from gip_exp.models.prompts import renderer
from gip_exp.stage import Entries, Job, Stage
from gip_exp.storage.files import write_json
from gip_exp.training.checkpoints import numbered
from gip_exp.training.finetune import finetune, training_rows
from gip_exp.training.task import Task


def _inputs(config: Config) -> tuple[str, ...]:
    return ("data", "base") if config.model.scratch else ("data",)


def _settings(config: Config, _: Entries) -> dict[str, Any]:
    selector = less(config)
    return {
        "warmup": content(selector.warmup),
        "share": selector.warmup_share,
        "target": content(config.target),
        "prompt": content(config.model.prompt),
        "dtype": config.model.dtype,
        "model": loading.identity(config.model),
    }


def _missing(config: Config) -> list[str]:
    return loading.missing(config) + missing(less(config).warmup, config)


def _build(job: Job) -> None:
    from baselines.less import learning_rate_weights

    selector, where = less(job.config), machine(job.config, job.inputs)
    rows = training_rows(_drawn(job), renderer(job.config.model.prompt, loading.load_tokenizer(where.place)))
    task = Task(
        rows,
        selector.warmup,
        where,
        folder=job.folder / CHECKPOINTS,
        save_every="epoch",
        keep_all=True,
        on_save=name_parameters,
    )
    with job.console.bar("warming up for LESS", task.steps) as bar:
        finetune(task, on_step=bar.update)
    folders = numbered(job.folder / CHECKPOINTS)
    weights = learning_rate_weights(folders)
    write_json(job.folder / WEIGHTS, [float(weight) for weight in weights])
    job.draft.facts.update(examples=len(rows), checkpoints=len(folders), weights=[float(w) for w in weights])


def name_parameters(trainer: Any, checkpoint: Path) -> None:
    """Say beside the optimiser's state whose it is: LESS pairs moments and weights by name."""
    from baselines.less import write_parameter_names

    write_parameter_names(trainer.model, trainer.optimizer, checkpoint)


def _drawn(job: Job) -> list[dict[str, str]]:
    """The warm-up's examples: a share of the pool, drawn with the warm-up's seed, target rows never among them."""
    selector, examples = less(job.config), read_pool(job.inputs)
    rows = split.split(len(examples), job.config.target).pool
    n = max(1, round(selector.warmup_share * len(rows)))
    drawn = np.random.default_rng(selector.warmup.seed).permutation(rows)[:n]
    return [examples[row] for row in drawn]


STAGE = Stage("warmup", _inputs, _settings, _build, _missing, resumable=True, needs_device=lambda _: True)
