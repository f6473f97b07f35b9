"""Selection on one CUDA device: the plain loop beside drafted blocks, and the bandwidth and product that bound them.

    python tests/benchmarks/bench_selection_gpu.py [--n 52000] [--d 1024] [--picks 600]
    python tests/benchmarks/bench_selection_gpu.py --device cpu --n 4000 --d 128 --picks 100    # does it run?

On CUDA `gip_select` runs the plain loop; `selection.fast` is chosen on CPUs only (`fast_applies`), and is called here
directly. Share of bandwidth: what the plain loop reads, a pool a pick (self-compression: two), against what a copy of
the pool reads and writes in the same time. Product: one `torch.mm` of the pool with (d, picks), the least that drafted
blocks can take (self-compression: two). Medians of three after one call to warm up; without the device, exit code 1.
It has run on a CPU only: no CUDA device was at hand.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import torch
from bench_selection import Timing, make_problem, timed
from bench_selection_cases import Case

from selection.fast.choose import select_fast
from selection.plain import select_plain
from selection.problem import Problem

RULES = (("mp", False), ("omp", False), ("logdet", False), ("mp", True))
CACHE = 2**29


def median(run: Callable[[], object], device: str) -> Timing:
    """The timing with the median wall-clock time of three, each of which waits for the device."""

    def finished() -> object:
        result = run()
        if device == "cuda":
            torch.cuda.synchronize()
        return result

    finished()
    return sorted((timed(finished) for _ in range(3)), key=lambda timing: timing.wall)[1]


def line(name: str, problem: Problem, picks: int, device: str) -> None:
    """Measure one rule, and print its row of the table."""
    pool = problem.pool.rows
    target, vectors = torch.empty_like(pool), torch.randn(pool.shape[1], picks, device=pool.device)
    moved = pool.numel() * pool.element_size()
    bandwidth = 2 * moved / median(lambda: target.copy_(pool), device).wall
    product = median(lambda: torch.mm(pool, vectors), device).wall
    plain = median(lambda: select_plain(problem, picks), device)
    drafted = median(lambda: select_fast(problem, picks, CACHE), device)
    read = moved * picks * (2 if problem.compression else 1)
    pairs = zip(plain.result.order, drafted.result.order, strict=True)
    same = next((at for at, (a, b) in enumerate(pairs) if a != b), picks)
    print(
        f"| {name} | {plain.wall:.2f} | {1e3 * plain.wall / picks:.3f} | {read / plain.wall / bandwidth:.0%} "
        f"| {drafted.wall:.2f} | {plain.wall / drafted.wall:.1f} | {product:.3f} | {same} of {picks} |",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=52_000)
    parser.add_argument("--d", type=int, default=1024)
    parser.add_argument("--picks", type=int, default=600)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    options = parser.parse_args()
    if options.picks > options.n:
        parser.error(f"--picks: got {options.picks}; give at most --n, {options.n}")
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device on this machine: nothing measured", file=sys.stderr)
        return 1
    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    print(f"{name}, {options.n} x {options.d}, {options.picks} picks, k = 5")
    print(
        "| rule | plain, s | ms a pick | share of bandwidth | drafted, s | ratio | product, s | same picks |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---|")
    for method, compression in RULES:
        case = Case(options.n, options.d, 5, options.picks, method, compression)
        problem, _ = make_problem(case, options.device)
        line("sc" if compression else method, problem, options.picks, options.device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
