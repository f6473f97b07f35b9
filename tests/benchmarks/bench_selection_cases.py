"""Cases of `bench_selection.py`, and the worker of its sharded one (importable by spawned processes)."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """A pool n x d with k scores (or self-compression) and a number of picks."""

    n: int
    d: int
    k: int
    budget: int
    method: str = "mp"
    compression: bool = False


CASES = {
    "mp-7473": Case(7473, 1024, 5, 1494),
    "mp-52000": Case(52_000, 1024, 5, 5200),
    "mp-52000-short": Case(52_000, 1024, 5, 520),
    "mp-300000": Case(300_000, 384, 5, 3000),
    "omp-7473": Case(7473, 1024, 5, 1494, "omp"),
    "omp-52000": Case(52_000, 1024, 5, 1000, "omp"),
    "logdet-7473": Case(7473, 1024, 5, 1494, "logdet"),
    "logdet-52000": Case(52_000, 1024, 5, 1000, "logdet"),
    "sc-7473": Case(7473, 1024, 1, 1494, "mp", True),
    "sc-52000": Case(52_000, 1024, 1, 1000, "mp", True),
    "sc-omp-7473": Case(7473, 1024, 1, 1494, "omp", True),
    "sc-logdet-7473": Case(7473, 1024, 1, 1494, "logdet", True),
}

TABLE = [
    Case(7473, 384, 5, 747),
    Case(7473, 1024, 5, 747),
    Case(7473, 1024, 5, 1494),
    Case(7473, 1024, 32, 747),
    Case(52_000, 384, 5, 1000),
    Case(52_000, 1024, 1, 1000),
    Case(52_000, 1024, 5, 1000),
    Case(52_000, 1024, 32, 500),
    Case(300_000, 384, 5, 1000),
    Case(1_000_000, 384, 5, 500),
    Case(1_000_000, 384, 5, 1000),
]


def sharded_worker(rank: int, size: int, port: int, d: int, picks: int) -> None:
    """Select from a pool of 2,000 rows a process and print the milliseconds a pick (rank 0)."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    import numpy as np
    import torch

    from selection.distributed import gip_select_sharded

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=size)
    rng = np.random.default_rng(rank)
    features, scores = rng.normal(size=(2000, d)), rng.uniform(1, 5, size=(2000, 5))
    marks = []
    for count in (10, picks):
        start = time.perf_counter()
        gip_select_sharded(features, count, scores=scores)
        marks.append(time.perf_counter() - start)
    if rank == 0:
        spent = (marks[1] - marks[0]) / (picks - 10) * 1e3
        print(f"{size} process(es), 2,000 x {d} rows each: {spent:.3f} ms a pick", flush=True)
    torch.distributed.destroy_process_group()
