"""Seconds of whole selections, plain loop against fast kernels, on the instruction set that this process is given.

    python tests/benchmarks/bench_selection_table.py [--n 52000] [--d 1024] [--threads 2] [--repeats 3]
    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 python ...    # AVX2

One line a rule and number of picks: the first selection in this process, the median of the repeats after it, the
plain loop (its start, and its pace over `--plain-picks` picks, scaled), one product of the pool with (d, picks), and
how many picks agree with the plain loop's. Ratios are of seconds by the clock and, in brackets, of processor seconds,
which other work on the machine disturbs less. All selections start from the same prepared pool.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from bench_selection import Timing, make_problem, timed
from bench_selection_cases import Case

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from selection.fast.choose import select_fast
from selection.plain import select_plain
from selection.problem import Problem

CACHE = 2**29
OTHER_PICKS = 600
RULES = (("omp", False), ("logdet", False), ("mp", True))


def median(run: Callable[[], object], repeats: int) -> Timing:
    """The timing with the median wall-clock time of `repeats`."""
    return sorted((timed(run) for _ in range(repeats)), key=lambda timing: timing.wall)[repeats // 2]


def line(name: str, problem: Problem, picks: int, options: argparse.Namespace) -> None:
    """Measure one rule and number of picks, and print its row of the table."""
    first = timed(lambda: select_fast(problem, picks, CACHE))
    again = median(lambda: select_fast(problem, picks, CACHE), options.repeats)
    count = min(picks, options.plain_picks)
    plain = timed(lambda: select_plain(problem, count))
    pool = problem.pool.rows
    vectors = torch.randn(pool.shape[1], picks)
    product = median(lambda: torch.mm(pool, vectors), options.repeats)
    pairs = zip(plain.result.order, first.result.order, strict=False)
    same = next((at for at, (a, b) in enumerate(pairs) if a != b), count)
    start, more = timed(lambda: select_plain(problem, 1)), (picks - 1) / (count - 1)
    scaled = Timing(
        None, start.wall + more * (plain.wall - start.wall), start.cpu + more * (plain.cpu - start.cpu)
    )
    print(
        f"| {name} | {picks} | {first.wall:.2f} | {again.wall:.2f} | {scaled.wall:.2f} | {product.wall:.2f} "
        f"| {scaled.wall / again.wall:.1f} ({scaled.cpu / again.cpu:.1f}) "
        f"| {again.wall / product.wall:.1f} ({again.cpu / product.cpu:.1f}) | {same} of {count} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=52_000)
    parser.add_argument("--d", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--plain-picks", type=int, default=100)
    parser.add_argument("--rules", nargs="*", default=["mp", "omp", "logdet", "sc"])
    parser.add_argument("--mp-picks", type=int, nargs="*", default=[100, 600, 5200])
    options = parser.parse_args()
    if options.plain_picks < 2:
        parser.error(f"--plain-picks: got {options.plain_picks}; give at least 2")
    if max(options.mp_picks, default=0) > options.n or options.n < OTHER_PICKS:
        parser.error(
            f"--n: got {options.n}; give at least {max(options.mp_picks, default=0)} and {OTHER_PICKS}"
        )
    torch.set_num_threads(options.threads)
    capability = torch.backends.cpu.get_cpu_capability()
    print(
        f"{options.n} x {options.d}, k = 5, {options.threads} thread(s), {capability}, load {os.getloadavg()[0]:.1f}"
    )
    print("| rule | picks | first | fast | plain | product | plain / fast | fast / product | same picks |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---|")
    if "mp" in options.rules:
        problem, _ = make_problem(Case(options.n, options.d, 5, 0))
        for picks in options.mp_picks:
            line("mp", problem, picks, options)
    for method, compression in RULES:
        name = "sc" if compression else method
        if name in options.rules:
            problem, _ = make_problem(Case(options.n, options.d, 5, 0, method, compression))
            line(name, problem, OTHER_PICKS, options)


if __name__ == "__main__":
    main()
