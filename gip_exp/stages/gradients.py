"""`gradients` (LESS): projected gradient features of the pool (Adam-corrected) and of the target rows, a checkpoint each.

Finished shards survive a kill: the stage goes on from them. Several processes (`train.processes`) share the shards.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gip_exp.artifacts import CHECKPOINTS, read_pool
from gip_exp.config import Config
from gip_exp.config.selector import less_selector
from gip_exp.data import split
from gip_exp.models import loading
from gip_exp.models.machine import Machine, machine, missing
from gip_exp.models.prompts import renderer
from gip_exp.stage import Entries, Job, Stage
from gip_exp.training.checkpoints import numbered
from gip_exp.training.tokens import Row, training_rows
from gip_exp.training.torchrun import share

WORK = "work"  # what processes that share the work tell each other


def _inputs(config: Config) -> tuple[str, ...]:
    return ("data", "base", "warmup") if config.model.scratch else ("data", "warmup")


def _settings(config: Config, _: Entries) -> dict[str, Any]:
    selector = less_selector(config)
    return {"dimensions": selector.dimensions, "projection_seed": selector.projection_seed}


def _missing(config: Config) -> list[str]:
    return loading.missing(config) + missing(less_selector(config).warmup, config)


def _build(job: Job) -> None:
    selector, where = less_selector(job.config), machine(job.config, job.inputs)
    pool_rows, target_rows = _examples(job, where)
    folders = numbered(job.inputs["warmup"].folder / CHECKPOINTS)
    task = {
        "machine": asdict(where),
        "checkpoints": [str(folder) for folder in folders],
        "folder": str(job.folder),
        "pool": pool_rows,
        "target": target_rows,
        "dimensions": selector.dimensions,
        "seed": selector.projection_seed,
        "batch": selector.gradient_batch,
    }
    with job.console.bar("gradients for LESS", len(folders) * (len(pool_rows) + len(target_rows))) as bar:

        def tell(event: Mapping[str, Any]) -> None:
            bar.advance(event["rows"], event["kept"])

        if selector.warmup.processes == 1:
            share_of_process(task, tell)
        else:
            share(
                share_of_process,
                task,
                processes=selector.warmup.processes,
                folder=job.draft.scratch(WORK),
                tell=tell,
            )
    job.draft.facts.update(checkpoints=len(folders), n=len(pool_rows), n_target=len(target_rows))


def share_of_process(task: Mapping[str, Any], tell: Callable[[Mapping[str, Any]], None]) -> None:
    """This process's shards of the features at every checkpoint: all of them, or those of one rank of torchrun."""
    from baselines.less import TARGET, TRAIN, adam_state, gradient_features

    where = Machine(**task["machine"])
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    options = {"dim": task["dimensions"], "seed": task["seed"], "batch_size": task["batch"]}
    # Rank 0 tells for all of them: their shards are as many as its own, but for one.
    options |= {
        "rank": rank,
        "world_size": world,
        "on_shard": lambda rows, kept: tell({"rows": rows * world, "kept": kept}),
    }
    for number, checkpoint in enumerate(map(Path, task["checkpoints"])):
        model = _at(checkpoint, where)
        out = Path(task["folder"]) / f"checkpoint-{number}"
        state = adam_state(checkpoint, model)
        gradient_features(model, task["pool"], folder=out / TRAIN, adam=state, **options)
        gradient_features(model, task["target"], folder=out / TARGET, **options)


def _at(checkpoint: Path, where: Machine) -> Any:
    from peft import PeftModel

    base = loading.load_base(where.place, where.dtype)
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if where.device == "cuda" else where.device
    return PeftModel.from_pretrained(base, checkpoint, is_trainable=True).to(device)


def _examples(job: Job, where: Machine) -> tuple[list[Row], list[Row]]:
    """Token ids and labels of (pool, target), as in the warm-up, without the rows that nothing can be learnt from."""
    tokenizer = loading.load_tokenizer(where.place)
    render = renderer(job.config.model.prompt, tokenizer)
    found = training_rows(read_pool(job.inputs), render, tokenizer, less_selector(job.config).warmup)
    parts = split.split(len(found.lost), job.config.target)
    rows = dict(zip(found.kept.tolist(), found.rows, strict=True))
    pool, target = (
        [rows[row] for row in part.tolist() if row in rows] for part in (parts.pool, parts.target)
    )
    return pool, target


STAGE = Stage("gradients", _inputs, _settings, _build, _missing, resumable=True, needs_device=lambda _: True)
