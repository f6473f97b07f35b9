"""Selection on one CUDA device: seconds of the loop, and its share of the bandwidth that a plain copy reaches.

    python tests/benchmarks/bench_selection_gpu.py [--n 52000] [--d 1024] [--picks 1000]

On CUDA `gip_select` runs the plain loop: `selection.fast` is for CPUs (`fast_applies`), so no drafted blocks are
measured here. As a bound of what they could reach, the script also prints the time of one product of the pool with
(d, picks), the work of all columns when none is computed in vain.
Without a CUDA device it says so and ends with exit code 1. It has not been run on a device yet.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import torch
from bench_selection import make_problem, timed
from bench_selection_cases import Case

from selection.plain import select_plain

RULES = (("mp", False), ("omp", False), ("logdet", False), ("mp", True))


def device_seconds(run: Callable[[], object]) -> float:
    """The median of three timings that wait for the device, after one call to warm up."""
    run()
    torch.cuda.synchronize()

    def finished() -> None:
        run()
        torch.cuda.synchronize()

    return sorted(timed(finished).wall for _ in range(3))[1]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=52_000)
    parser.add_argument("--d", type=int, default=1024)
    parser.add_argument("--picks", type=int, default=1000)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device on this machine: nothing measured", file=sys.stderr)
        return 1
    print(f"{torch.cuda.get_device_name()}, {options.n} x {options.d}, {options.picks} picks, k = 5")
    print("| rule | seconds | ms a pick | share of bandwidth | one product, seconds |")
    print("|---|---:|---:|---:|---:|")
    for method, compression in RULES:
        case = Case(options.n, options.d, 5, options.picks, method, compression)
        problem, _ = make_problem(case, "cuda")
        pool = problem.pool.rows
        target, vectors = torch.empty_like(pool), torch.randn(options.d, options.picks, device=pool.device)
        moved = pool.numel() * pool.element_size()
        bandwidth = 2 * moved / device_seconds(lambda s=pool, t=target: t.copy_(s))
        seconds = device_seconds(lambda p=problem: select_plain(p, options.picks))
        product = device_seconds(lambda s=pool, v=vectors: torch.mm(s, v))
        reads = 2 if compression else 1
        print(
            f"| {'sc' if compression else method} | {seconds:.2f} | {1e3 * seconds / options.picks:.3f} "
            f"| {reads * moved * options.picks / seconds / bandwidth:.0%} | {product:.3f} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
