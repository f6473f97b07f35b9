"""`gradients` (LESS): projected gradient features of the pool (Adam-corrected) and of the target rows, a checkpoint each.

Finished shards survive a kill: the stage goes on from them.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gip_exp import models, pool
from gip_exp.config import Config
from gip_exp.finetune import machine
from gip_exp.prompts import Renderer, renderer
from gip_exp.stage import Entries, Job, Stage
from gip_exp.stages.data import read_pool
from gip_exp.stages.warmup import checkpoints, less

TRAIN, TARGET = "train", "target"


def _inputs(config: Config) -> tuple[str, ...]:
    return ("data", "base", "warmup") if config.model.scratch else ("data", "warmup")


def _settings(config: Config, _: Entries) -> dict[str, Any]:
    selector = less(config)
    return {"dimensions": selector.dimensions, "projection_seed": selector.projection_seed}


def _build(job: Job) -> None:
    from baselines.less import adam_state, gradient_features

    selector, where = less(job.config), machine(job.config, job.inputs)
    tokenizer = models.load_tokenizer(where.place)
    pool_rows, target_rows = _examples(job, renderer(job.config.model.prompt, tokenizer), tokenizer)
    features = partial(
        gradient_features,
        dim=selector.dimensions,
        seed=selector.projection_seed,
        batch_size=selector.gradient_batch,
    )
    folders = checkpoints(job.inputs["warmup"].folder)
    with job.console.bar("gradients for LESS", len(folders)) as bar:
        for number, checkpoint in enumerate(folders):
            model = _at(checkpoint, where)
            out = job.folder / f"checkpoint-{number}"
            features(model, pool_rows, folder=out / TRAIN, adam=adam_state(checkpoint, model))
            features(model, target_rows, folder=out / TARGET)
            bar.advance()
    job.draft.facts.update(checkpoints=len(folders), n=len(pool_rows), n_target=len(target_rows))


def _at(checkpoint: Path, where: Any) -> Any:
    from peft import PeftModel

    base = models.load_base(where.place, where.dtype)
    return PeftModel.from_pretrained(base, checkpoint, is_trainable=True).to(where.device)


def _examples(
    job: Job, render: Renderer, tokenizer: Any
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Token ids and labels of (pool, target), tokenised and cut as in training."""
    from eval.answer_nll import encode

    examples = read_pool(job.inputs)
    longest = less(job.config).warmup.max_length

    def tokens(row: int) -> dict[str, Any]:
        text = render.training_row(examples[row])
        encoded = encode(tokenizer, text["prompt"], text["completion"])
        labels = [-100] * encoded.start + encoded.input_ids[encoded.start :]
        return {"input_ids": encoded.input_ids[:longest], "labels": labels[:longest]}

    parts = pool.split(len(examples), job.config.target)
    return [tokens(row) for row in parts.pool], [tokens(row) for row in parts.target]


def influence_scores(entries: Entries) -> np.ndarray:
    """(n,) float64: the influence of every pool row on the target, over all checkpoints."""
    from baselines.less import influence, load_features

    folders = sorted(
        entries["gradients"].folder.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1])
    )
    weights = json.loads((entries["warmup"].folder / "weights.json").read_text())
    return influence(
        [load_features(folder / TRAIN) for folder in folders],
        [load_features(folder / TARGET) for folder in folders],
        weights,
    )


STAGE = Stage("gradients", 1, _inputs, _settings, _build, models.missing, resumable=True)
