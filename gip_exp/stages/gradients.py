"""`gradients` (LESS): projected gradient features of the pool (with Adam) and of the target rows, for each checkpoint.

A killed stage continues from the finished shards. Several processes (`train.processes`) divide the shards.
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
from gip_exp.models.machine import Machine, machine, missing_for_training
from gip_exp.models.prompts import renderer
from gip_exp.stage import Entries, Job, Stage
from gip_exp.training.checkpoints import numbered
from gip_exp.training.tokens import Row, training_rows
from gip_exp.training.torchrun import run_in_processes

WORK = "work"  # files exchanged by the processes


def _inputs(config: Config) -> tuple[str, ...]:
    return ("data", "base", "warmup") if config.model.made else ("data", "warmup")


def _settings(config: Config, _: Entries) -> dict[str, Any]:
    selector = less_selector(config)
    return {"dimensions": selector.dimensions, "projection_seed": selector.projection_seed}


def _missing(config: Config) -> list[str]:
    return loading.missing_requirements(config) + missing_for_training(less_selector(config).warmup, config)


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
        "batch_tokens": selector.gradient_tokens,
    }
    with job.console.bar("gradients for LESS", len(folders) * (len(pool_rows) + len(target_rows))) as bar:

        def report(event: Mapping[str, Any]) -> None:
            bar.advance(event["rows"], event["kept"])

        if selector.warmup.processes == 1:
            features_of_rank(task, report)
        else:
            run_in_processes(
                features_of_rank,
                task,
                processes=selector.warmup.processes,
                folder=job.draft.scratch(WORK),
                report=report,
            )
    job.draft.facts.update(checkpoints=len(folders), n=len(pool_rows), n_target=len(target_rows))


def features_of_rank(task: Mapping[str, Any], report: Callable[[Mapping[str, Any]], None]) -> None:
    """Compute this process's shards of the features at every checkpoint: all of them, or those of one rank."""
    from baselines.less import TARGET, TRAIN, adam_state, gradient_features

    where = Machine(**task["machine"])
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    options = {"dim": task["dimensions"], "seed": task["seed"], "batch_tokens": task["batch_tokens"]}
    # Rank 0 reports for all ranks, which have the same number of shards, give or take one.
    options |= {
        "rank": rank,
        "world_size": world,
        "on_shard": lambda rows, kept: report({"rows": rows * world, "kept": kept}),
    }
    for number, checkpoint in enumerate(map(Path, task["checkpoints"])):
        model = _load(checkpoint, where)
        out = Path(task["folder"]) / f"checkpoint-{number}"
        state = adam_state(checkpoint, model)
        gradient_features(model, task["pool"], folder=out / TRAIN, adam=state, **options)
        gradient_features(model, task["target"], folder=out / TARGET, **options)


def _load(checkpoint: Path, where: Machine) -> Any:
    from peft import PeftModel

    base = loading.load_base(where.place, where.dtype)
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if where.device == "cuda" else where.device
    return PeftModel.from_pretrained(base, checkpoint, is_trainable=True).to(device)


def _examples(job: Job, where: Machine) -> tuple[list[Row], list[Row]]:
    """Return token ids and labels of (pool, target), as in the warm-up, without the rows that have no loss."""
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
