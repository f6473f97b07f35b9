"""`warmup` (LESS): a LoRA warm-up on a random share of the pool, with one checkpoint per epoch.

`unusable.json` lists the indices of rows without a loss (their prompt fills `max_length`), which have no gradient and are
never picked.
"""

from pathlib import Path
from typing import Any

import numpy as np

from gip_exp.artifacts import CHECKPOINTS, UNUSABLE, WEIGHTS, read_origins, read_pool, row_name, sizes
from gip_exp.config import Config
from gip_exp.config.base import content
from gip_exp.config.selector import less_selector
from gip_exp.data import split
from gip_exp.errors import UserError
from gip_exp.models import loading
from gip_exp.models.machine import machine, missing_for_training
from gip_exp.models.prompts import renderer
from gip_exp.stage import Entries, Job, Stage
from gip_exp.storage.files import write_json
from gip_exp.training.checkpoints import numbered
from gip_exp.training.finetune import finetune
from gip_exp.training.task import Task
from gip_exp.training.tokens import TrainingRows, training_rows


def _inputs(config: Config) -> tuple[str, ...]:
    return ("data", "base") if config.model.made else ("data",)


def _settings(config: Config, _: Entries) -> dict[str, Any]:
    selector = less_selector(config)
    return {
        "warmup": content(selector.warmup),
        "share": selector.warmup_share,
        "target": content(config.target),
        "prompt": content(config.model.prompt),
        "dtype": config.model.dtype,
        "model": loading.identity(config.model),
    }


def _missing(config: Config) -> list[str]:
    return loading.missing_requirements(config) + missing_for_training(less_selector(config).warmup, config)


def _build(job: Job) -> None:
    from baselines.less import learning_rate_weights

    selector, where = less_selector(job.config), machine(job.config, job.inputs)
    tokenizer = loading.load_tokenizer(where.place)
    render = renderer(job.config.model.prompt, tokenizer)
    found = training_rows(read_pool(job.inputs), render, tokenizer, selector.warmup)
    _check_usable(job, found)
    usable = dict(zip(found.kept.tolist(), found.rows, strict=True))
    rows = [usable[row] for row in _drawn(job) if row in usable]
    if not rows:
        raise UserError(
            f"the prompt of every row of LESS's warm-up fills selector.warmup.max_length={selector.warmup.max_length} "
            "tokens: raise it, or selector.warmup_share"
        )
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
        finetune(task, on_step=bar.update, note=lambda doubt: job.note(f"LESS: {doubt}"))
    folders = numbered(job.folder / CHECKPOINTS)
    weights = learning_rate_weights(folders)
    write_json(job.folder / WEIGHTS, [float(weight) for weight in weights])
    job.draft.facts.update(examples=len(rows), checkpoints=len(folders), weights=[float(w) for w in weights])


def name_parameters(trainer: Any, checkpoint: Path) -> None:
    """Write the names of the optimiser's parameters to a checkpoint: LESS matches moments and weights by name."""
    from baselines.less import write_parameter_names

    write_parameter_names(trainer.model, trainer.optimizer, checkpoint)


def _check_usable(job: Job, found: TrainingRows) -> None:
    """Note and record the rows that LESS cannot use. Raises UserError if too few pool rows, or no target rows, remain."""
    warmup = less_selector(job.config).warmup
    origins = read_origins(job.inputs) or read_pool(job.inputs)  # the pool is not empty
    for note in found.notes(lambda number: row_name(origins[number]), "selector.warmup", warmup.max_length):
        job.note(f"LESS: {note}")
    parts = split.split(len(found.lost), job.config.target)
    if found.lost[parts.target].all():
        raise UserError(
            f"LESS: the prompt of each of the {len(parts.target)} target rows fills selector.warmup.max_length="
            f"{warmup.max_length} tokens, so no target remains: raise it"
        )
    usable, n_selected = int((~found.lost[parts.pool]).sum()), sizes(job.config, job.inputs)[1]
    if n_selected > usable and job.config.budget_unit == "rows":
        raise UserError(
            f"budget={job.config.budget} needs {n_selected} rows, but LESS can use only {usable} of {len(parts.pool)}: "
            f"lower the budget, or raise selector.warmup.max_length={warmup.max_length}"
        )
    write_json(job.folder / UNUSABLE, np.flatnonzero(found.lost).tolist())


def _drawn(job: Job) -> list[int]:
    """Draw the rows of the warm-up: a share of the pool, without target rows, with the warm-up's seed."""
    selector = less_selector(job.config)
    rows = split.split(int(job.inputs["data"].facts["n_rows"]), job.config.target).pool
    n = max(1, round(selector.warmup_share * len(rows)))
    return [int(row) for row in np.random.default_rng(selector.warmup.seed).permutation(rows)[:n]]


STAGE = Stage("warmup", _inputs, _settings, _build, _missing, resumable=True, needs_device=lambda _: True)
