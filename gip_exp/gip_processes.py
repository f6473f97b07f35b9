"""`rank` for GIP in several processes, each with a shard of the pool on its own GPU, or on the CPU without GPUs."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gip_exp.artifacts import FEATURES, fills_memory, selector_of
from gip_exp.config.selector import GipSelector
from gip_exp.errors import as_user_errors
from gip_exp.models import loading
from gip_exp.runs.slurm import node_count
from gip_exp.stage import Job
from gip_exp.training.torchrun import run_in_processes

if TYPE_CHECKING:
    from selection import Selection

WORK, PICKS = "work", "picks.npz"  # files exchanged by the processes


def select_in_processes(
    job: Job,
    config: GipSelector,
    *,
    rows: np.ndarray,
    scores: np.ndarray | None,
    candidates: np.ndarray | None,
    budget: int,
) -> "Selection":
    """Return what `gip_select` returns for the pool, from `selector.processes` processes.

    Args:
        job: The job of the stage `rank`.
        config: Its selector.
        rows: (n,) the pool, as row numbers of the embeddings.
        scores: (n, k) scores, or None.
        candidates: (n,) bool, the rows that may be picked; None for all.
        budget: Number of rows to pick.
    """
    from selection.types import Selection

    work = job.draft.scratch(WORK)
    work.mkdir()
    for name, values in {"rows": rows, "scores": scores, "candidates": candidates}.items():
        if values is not None:
            np.save(work / f"{name}.npy", values)
    features = job.inputs["embed"].folder / FEATURES
    device = loading.device(job.config)
    if device == "cpu" and not fills_memory(features):
        job.console.warn(
            f"selector.processes={config.processes} without GPUs, for a pool that fits in memory: one process is faster, "
            "because it reads the pool less often"
        )
    task = {
        "features": str(features),
        "work": str(work),
        "budget": budget,
        "options": selector_of(job.config).options_of(config),
        "device": device,
    }
    job.console.say(f"  ranking in {config.processes} processes", style="dim")
    nodes = node_count(os.environ)
    run_in_processes(select_shard, task, processes=config.processes, folder=work, nodes=nodes)
    with np.load(work / PICKS) as picks:
        return Selection(picks["indices"], picks["gains"], tuple(picks["rounds"].tolist()))


def select_shard(task: Mapping[str, Any], _: Callable[[Mapping[str, Any]], None]) -> None:
    """Take part in the selection with this process's shard of the pool; rank 0 writes the picks."""
    import torch
    from torch import distributed

    from selection.distributed import gip_select_sharded

    on_gpu = task["device"] == "cuda"
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    shard = _read_shard(task, distributed.get_rank(), distributed.get_world_size())
    with as_user_errors():
        found = gip_select_sharded(
            **shard, budget=task["budget"], device=device, objective=False, **task["options"]
        )
    if distributed.get_rank() == 0:
        np.savez(
            Path(task["work"]) / PICKS, indices=found.indices, gains=found.gains, rounds=list(found.rounds)
        )
    distributed.destroy_process_group()


def _read_shard(task: Mapping[str, Any], rank: int, world: int) -> dict[str, Any]:
    """Return the features, scores and candidates of one process's rows."""
    from selection.distributed import shard_rows

    features, work = np.load(task["features"], mmap_mode="r"), Path(task["work"])
    rows = np.load(work / "rows.npy", mmap_mode="r")
    here = shard_rows(len(rows), rank, world, features.shape[1])
    shard = {"features": features[here] if len(rows) == len(features) else features[rows[here]]}
    for name in ("scores", "candidates"):
        if (work / f"{name}.npy").exists():
            shard[name] = np.load(work / f"{name}.npy", mmap_mode="r")[here]
    return shard
