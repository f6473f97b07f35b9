"""Embedding and ranking in one and in two processes: `python tests/benchmarks/bench_processes.py embed|rank|pick`.

embed: texts a second of a random Qwen3 of 0.2 million parameters, by torchrun, without the time to start.
rank: milliseconds a pick of `gip_select_sharded`, matching pursuit with five scores, the same pool in 1 and 2 processes.
pick: the same in one process for several sizes, as bytes a second by the cost model of selection/README.md.

Every process has one thread. Beside the time on the clock stands that of the busiest process on its processor, which other
work on the machine hardly changes.
"""

import os
import resource
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ["OMP_NUM_THREADS"] = "1"
RUNS, TEXTS, SCORES = 3, 8 * 1024, 5
PICKS = (20, 80)  # both decided in float64


def embed() -> None:
    from tiny_qwen3 import make_model

    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder) / "model")
        for run in range(RUNS):
            for world in (1, 2):
                before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
                rate = _texts_a_second(model, Path(folder) / f"{run}-{world}", world)
                used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
                print(
                    f"{world} process(es): {rate:.0f} texts/s, {used:.0f} s of processor in all", flush=True
                )


def _texts_a_second(model: Path, folder: Path, world: int) -> float:
    """Texts a second from the end of the first shards to the end of the last."""
    from gip_exp.models.shards import longest_first
    from gip_exp.stages.embed import shards_of_rank
    from gip_exp.storage.row_table import collected
    from gip_exp.training.torchrun import run_in_processes

    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = [
        {"id": str(i), "prompt": "word " * int(rng.integers(5, 20)), "completion": str(i)}
        for i in range(TEXTS)
    ]
    collected(rows, ("id", "prompt", "completion")).write(folder / "pool.arrow")
    np.save(folder / "order.npy", longest_first([f"{row['prompt']}\n{row['completion']}" for row in rows]))
    options = {"model": str(model), "pooling": "mean", "max_length": 128, "dtype": "float32", "device": "cpu"}
    task = {
        "pool": str(folder / "pool.arrow"),
        "order": str(folder / "order.npy"),
        "shards": str(folder / "shards"),
    }
    seen: list[tuple[float, int]] = []
    run_in_processes(
        shards_of_rank,
        {**task, "encoder": options},
        processes=world,
        folder=folder,
        report=lambda event: seen.append((time.perf_counter(), event["rows"])),
    )
    return sum(rows for _, rows in seen[1:]) / (seen[-1][0] - seen[0][0])


def rank() -> None:
    n, d = 100_000, 256
    print(f"gip_select: {_alone(n, d):.1f} ms of processor a pick", flush=True)
    for _ in range(RUNS):
        for world in (1, 2):
            clock, processor = _pick(n, d, world)
            print(f"{world} process(es): {clock:.1f} ms a pick, {processor:.1f} of processor", flush=True)


def pick() -> None:
    for n, d in ((100_000, 256), (200_000, 256), (50_000, 1024)):
        spent = statistics.median(_pick(n, d, 1)[1] for _ in range(RUNS))
        rate = n * row_bytes(d, SCORES) / spent / 1e6
        print(f"{n:,} x {d}: {spent:.2f} ms a pick, {rate:.1f} GB/s", flush=True)


def row_bytes(d: int, k: int) -> int:
    """Bytes that a pick reads or writes for a row: it, its k correlations (three steps), its gain and square."""
    return 8 * (d + 6 * k + 8)


def _pool(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, d)).astype(np.float32), rng.uniform(1, 5, size=(n, SCORES))


def _alone(n: int, d: int) -> float:
    """Milliseconds of `gip_select`, whose kernels read the pool less often."""
    from selection import gip_select

    features, scores = _pool(n, d)
    marks = []
    for count in PICKS:
        start = time.process_time()
        gip_select(features, count, scores=scores)
        marks.append(time.process_time() - start)
    return (marks[1] - marks[0]) / (PICKS[1] - PICKS[0]) * 1e3


def _pick(n: int, d: int, world: int) -> tuple[float, float]:
    """Milliseconds a pick: on the clock, and on the processor of the busiest process."""
    import torch.multiprocessing as mp

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_worker, (world, port, (n, d), folder), nprocs=world)
        told = [np.load(path) for path in Path(folder).glob("*.npy")]
    clock, processor = np.max(told, axis=0)
    return float(clock), float(processor)


def _worker(rank: int, world: int, port: int, shape: tuple[int, int], folder: str) -> None:
    import torch

    from selection.distributed import gip_select_sharded, shard_rows

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    here = shard_rows(shape[0], rank, world, shape[1])
    features, scores = (array[here] for array in _pool(*shape))
    marks = []
    for count in PICKS:
        start = np.array([time.perf_counter(), time.process_time()])
        gip_select_sharded(features, count, scores=scores, objective=False)
        marks.append(np.array([time.perf_counter(), time.process_time()]) - start)
    np.save(Path(folder) / f"{rank}.npy", (marks[1] - marks[0]) / (PICKS[1] - PICKS[0]) * 1e3)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    {"embed": embed, "rank": rank, "pick": pick}[sys.argv[1]]()
