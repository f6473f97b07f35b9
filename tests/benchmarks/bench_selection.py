"""Speed and memory of GIP selection, all competitors side by side in one run; prints seconds, picks and ratios.

    python tests/benchmarks/bench_selection.py --case CASE [--skip gram] [--threads 1]

CASE   one of CASES (mp-7473, mp-52000, omp-52000, sc-7473, ...): ours against the plain loop and Gram-first
       peers     GSM8K's size against apricot and submodlib, where they are installed
       table     seconds and peak memory by n, d, k and budget, and the fitted cost model
       sharded   milliseconds a pick that communication costs (gloo, 1 to 3 processes)

Competitors: "plain" reads the pool once a pick; "gram" first builds the n x n Gram matrix, as the paper's reviewers
describe; "ours" is what `gip_select` runs. All start from the same prepared pool; preparation is timed on its own.
Threads matter on a shared machine: `--threads 1` compares algorithms even where other work takes a core.
`--plain-picks` and `--gram-picks` stop a competitor early and scale its loop to all picks (said so in the output).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_selection_cases import CASES, TABLE, Case

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gip_exp.parity.geometry import apricot_cover, submodlib_cover
from selection import gip_select
from selection.checks import Problems
from selection.fast.choose import select_fast
from selection.objective import describe, query_gram
from selection.plain import select_plain
from selection.prepare import Preparation, prepare
from selection.problem import Problem, Rule


def make_features(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Clustered rows (n, d) float32, filled by blocks so that nothing beside the array is allocated."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((200, d), dtype=np.float32)
    features = np.empty((n, d), dtype=np.float32)
    for start in range(0, n, 8192):
        block = features[start : start + 8192]
        rng.standard_normal(out=block, dtype=np.float32)
        block += 0.8 * centres[rng.integers(200, size=len(block))]
    return features


def make_scores(n: int, k: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(1, 5, size=(n, k))


def make_problem(case: Case, device: str = "cpu") -> tuple[Problem, float]:
    """The prepared problem of a case, and the seconds that preparation took."""
    features = make_features(case.n, case.d)
    scores = None if case.compression else make_scores(case.n, case.k)
    start = time.perf_counter()
    how = Preparation(True, True, "rms", 1.0, torch.float32, torch.device(device))
    pool = prepare(Problems(), features, how, scores=scores, queries=None, mask=None)
    total = query_gram(pool)
    return Problem(pool, Rule(case.method, 1e-6, 1e-6), total), time.perf_counter() - start


@dataclass(frozen=True)
class Timing:
    """A result, its seconds by the clock, and the processor seconds of all threads."""

    result: Any
    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall:8.2f} s ({self.cpu:.2f} s of processor time)"

    def scaled(self, factor: float) -> Timing:
        return Timing(self.result, self.wall * factor, self.cpu * factor)


def timed(run: Callable[[], Any]) -> Timing:
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return Timing(result, time.perf_counter() - wall, time.process_time() - cpu)


def median(run: Callable[[], Any], repeats: int = 5) -> Timing:
    """The median of `repeats` timings after one call that compiles."""
    run()
    return sorted((timed(run) for _ in range(repeats)), key=lambda timing: timing.wall)[repeats // 2]


def lean_loop(problem: Problem, budget: int, column: Callable[[int], torch.Tensor]) -> list[int]:
    """The leanest loop for mp: a column of the Gram matrix, one rank-1 update and one reduction a pick."""
    weight = 1 / (problem.pool.square.float() + problem.pool.ridge)
    corr = problem.correlations().float().T.contiguous()
    alive, square, order = weight.clone(), torch.empty_like(corr), []
    score = (corr * corr).sum(0) * alive
    for _ in range(budget):
        i = int(score.argmax())
        order.append(i)
        alive[i] = 0
        corr.addr_(corr[:, i] * weight[i], column(i), alpha=-1)
        torch.mul(corr, corr, out=square)
        torch.sum(square, 0, out=score)
        score *= alive
    return order


def compare(case: Case, options: argparse.Namespace) -> None:
    """Ours against the plain loop and Gram-first on one case."""
    warm = Case(600, 32, case.k, 40, case.method, case.compression)
    select_fast(make_problem(warm)[0], 40, options.cache)  # compiles
    problem, prepared = make_problem(case)
    print(f"{case}, {options.threads} thread(s), load {os.getloadavg()[0]:.1f}; preparation {prepared:.2f} s")
    ours = timed(lambda: select_fast(problem, case.budget, options.cache))
    reference = ours.result.order
    print(f"  ours     {ours}", flush=True)
    if "plain" not in options.skip:
        count = min(case.budget, options.plain_picks or case.budget)
        lean = case.method == "mp" and not case.compression
        rows = problem.pool.rows
        if lean:
            plain = timed(lambda: lean_loop(problem, count, lambda i: rows @ rows[i]))
        else:
            plain = timed(lambda: select_plain(problem, count).order)
        report("plain", plain.scaled(case.budget / count), plain.result, reference, ours)
    if "gram" not in options.skip and case.method == "mp" and not case.compression and case.n <= 60_000:
        count = min(case.budget, options.gram_picks or case.budget)
        built = timed(lambda: problem.pool.rows @ problem.pool.rows.T)
        print(f"  (the Gram matrix alone: {built}, {case.n**2 * 4 / 1e9:.1f} GB)")
        loop = timed(lambda: lean_loop(problem, count, built.result.__getitem__))
        part = loop.scaled(case.budget / count)
        both = Timing(None, built.wall + part.wall, built.cpu + part.cpu)
        report("gram", both, loop.result, reference, ours)


def report(name: str, timing: Timing, order: list[int], reference: list[int], ours: Timing) -> None:
    """One line: seconds, ratios to ours, and how far the picks are the same."""
    count = len(order)
    same = next((i for i, (a, b) in enumerate(zip(order, reference, strict=False)) if a != b), count)
    shared = len(set(order) & set(reference[:count])) / count
    ratios = f"{timing.wall / ours.wall:.2f} times ours ({timing.cpu / ours.cpu:.2f} in processor time)"
    scaled = "" if count == len(reference) else f"; loop scaled from {count} picks"
    print(f"  {name:<8} {timing}: {ratios}", flush=True)
    print(f"           same picks up to {same} of {count}, {shared:.2%} in common{scaled}", flush=True)


def peers(options: argparse.Namespace) -> None:
    """747 of 7,473 x 384 rows: ours against the lazy facility location of apricot and submodlib."""
    n, budget = 7473, 747
    features = make_features(n, 384)
    unit = features - features.mean(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    scores = make_scores(n, 5)
    ours = median(lambda: gip_select(features, budget, scores=scores))
    compression = median(lambda: gip_select(features, budget))
    print(f"{budget} of {n} x 384, {options.threads} thread(s), load {os.getloadavg()[0]:.1f}")
    print(f"  ours, 5 scores, all of gip_select      {ours}   (median of 5 after a first call that compiles)")
    print(f"  ours, self-compression                 {compression}", flush=True)
    for name, run in (("apricot", apricot_cover), ("submodlib", submodlib_cover)):
        try:
            importlib.import_module(name)
        except ImportError:
            print(f"  {name}: not installed, left out")
            continue
        run(unit[:500], 20)
        seconds = timed(lambda run=run: run(unit, budget))
        ratios = f"{seconds.wall / ours.wall:.1f} times ours ({seconds.cpu / ours.cpu:.1f})"
        print(f"  {name:<10} lazy facility location     {seconds}   {ratios}", flush=True)


def table_row(case: Case, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of each phase and peak memory beyond the caller's arrays, in this process."""
    warm = Case(600, 32, case.k, 40, case.method, case.compression)
    select_fast(make_problem(warm)[0], 40, options.cache)
    features = make_features(case.n, case.d)
    scores = None if case.compression else make_scores(case.n, case.k)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    how = Preparation(True, True, "rms", 1.0, torch.float32, torch.device("cpu"))
    pool = prepare(Problems(), features, how, scores=scores, queries=None, mask=None)
    problem = Problem(pool, Rule(case.method, 1e-6, 1e-6), query_gram(pool))
    prepared = time.perf_counter()
    picks = select_fast(problem, case.budget, options.cache)
    selected = time.perf_counter()
    describe(pool, torch.tensor(picks.order), 1e-6, problem.total)
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    copy = case.n * case.d * 4 / 2**20
    return {
        "prepare_s": prepared - start,
        "select_s": selected - prepared,
        "objective_s": done - selected,
        "extra_mib": peak / 1024,
        "copy_mib": copy,
    }


def table(options: argparse.Namespace) -> None:
    """One process a row, so that each peak is its own; then the cost model by non-negative least squares."""
    from scipy.optimize import nnls

    print(f"{options.threads} thread(s); memory: MiB beyond the caller's arrays, the prepared copy included")
    head = ("n", "d", "k", "picks", "prepare", "select", "objective", "memory", "copy")
    print("  " + "".join(f"{name:>11}" for name in head))
    terms, seconds = [], []
    for case in TABLE[: options.rows]:
        line = [sys.executable, __file__, "--case", "row", "--row", json.dumps(case.__dict__)]
        line += ["--threads", str(options.threads), "--cache", str(options.cache)]
        out = subprocess.run(line, check=True, capture_output=True, text=True).stdout
        row = json.loads(out.strip().splitlines()[-1])
        shown = [case.n, case.d, case.k, case.budget, *(round(value, 2) for value in row.values())]
        print("  " + "".join(f"{value:>11}" for value in shown), flush=True)
        n, d, k, b = case.n, case.d, case.k, case.budget
        terms.append([b * n * d, b * n * k, b * d * max(512, min(n // 32, 2**21 // d)), b])
        seconds.append(row["select_s"])
    matrix, target = np.array(terms, dtype=float), np.array(seconds)
    weights = 1 / target
    scale = np.abs(matrix * weights[:, None]).max(axis=0)
    found = nnls(matrix * weights[:, None] / scale, target * weights)[0] / scale
    names = ("picks n d (columns)", "picks n k (sweeps)", "picks d rows (draft)", "picks (the rest)")
    print("select seconds = " + " + ".join(f"{f:.3g} x {name}" for f, name in zip(found, names, strict=True)))
    for name, share in zip(names, (matrix * found / target[:, None]).T, strict=True):
        print(f"  {name:<22} share of the measured time by row: {' '.join(f'{s:.0%}' for s in share)}")


def sharded(options: argparse.Namespace) -> None:
    """Milliseconds a pick where shards are too small to matter: communication and overhead."""
    from bench_selection_cases import sharded_worker
    from torch import multiprocessing as mp

    for size in (1, 2, 3):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        mp.spawn(sharded_worker, (size, port, 1024, 300), nprocs=size)
    print("a pick of 100 million x 1,024 over 64 GPUs = (its 6.4 GB shard) / (bandwidth) + the above on nccl")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    special = {"peers": peers, "table": table, "sharded": sharded}
    parser.add_argument("--case", required=True, choices=[*CASES, *special, "row"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--skip", nargs="*", default=[], choices=["plain", "gram"])
    parser.add_argument("--plain-picks", type=int)
    parser.add_argument("--gram-picks", type=int)
    parser.add_argument("--cache", type=int, default=2**29)
    parser.add_argument("--rows", type=int, default=len(TABLE), help="rows of the table to run")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    if options.case == "row":
        print(json.dumps(table_row(Case(**json.loads(options.row)), options)))
    elif options.case in special:
        special[options.case](options)
    else:
        compare(CASES[options.case], options)


if __name__ == "__main__":
    main()
