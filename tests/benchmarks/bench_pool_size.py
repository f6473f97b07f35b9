"""Seconds and memory of choosing 1 % of 10^4 to 10^6 rows of about 1 KB, by the command line, with TF-IDF and the rule judge.

    python -m tests.benchmarks.bench_pool_size [--sizes 10000,100000,1000000] [--selectors random,mp_sc,mp_ma]
        [--reuse] [--keep DIR]

The rows are recombined sentences of real Alpaca rows; of 10^6, 4 % are copies and are left out. Each run starts with an
empty store; with --reuse the selectors of a size share one, and the seconds of what a run reused are those of the run that
made it. Memory is the largest sum over the process and its children (proportional set size, so that mapped files count
once), sampled twice a second.
Prints a line per run with the seconds of each stage, then seconds = a + b n of each stage, fitted to the two
largest pools. Data: the folder GIP_DATA, default ../shared/data.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.benchmarks.alpaca_pool import alpaca

COMMAND = "-m gip_exp +experiment=own_data budget=0.01 until=select judge=rules"


def write_pool(path: Path, n: int) -> None:
    rng, rows = random.Random(0), alpaca()
    sentences = [
        sentence
        for row in rows
        for sentence in re.split(r"(?<=[.!?])\s+", row["completion"])
        if len(sentence) > 20
    ]
    with path.open("w", encoding="utf-8") as stream:
        for number in range(n):
            row = rng.choice(rows)
            completion = row["completion"]
            while len(completion) < 800:
                completion += " " + rng.choice(sentences)
            stream.write(json.dumps({"id": number, "prompt": row["prompt"], "completion": completion}) + "\n")


def memory(process: psutil.Process) -> int:
    """Proportional set size in bytes of a process and its children."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def run(pool: Path, selector: str, root: Path) -> tuple[dict[str, float], float, float]:
    """Return (seconds by stage, seconds in all, peak memory in GB)."""
    command = [sys.executable, *COMMAND.split(), f"data.path={pool}", f"selector={selector}"]
    start, peak = time.perf_counter(), 0
    with subprocess.Popen([*command, f"paths.root={root}"], stderr=subprocess.DEVNULL) as child:
        process = psutil.Process(child.pid)
        while child.poll() is None:
            peak = max(peak, memory(process))
            time.sleep(0.5)
    if child.returncode:
        raise SystemExit(f"{command} ended with {child.returncode}")
    [result] = root.glob(f"runs/*/{selector}_b*/result.json")
    stages = json.loads(result.read_text())["stages"]
    return (
        {name: stage["seconds"] for name, stage in stages.items()},
        time.perf_counter() - start,
        peak / 1e9,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--selectors", default="random,mp_sc,mp_ma")
    parser.add_argument("--reuse", action="store_true", help="the selectors of a size share a store")
    parser.add_argument(
        "--keep", type=Path, help="a folder for pools and stores, which stay; else a temporary one"
    )
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found: dict[tuple[str, int], dict[str, float]] = {}
        for n in sizes:
            pool = folder / f"pool_{n}.jsonl"
            write_pool(pool, n)
            for selector in options.selectors.split(","):
                root = folder / (f"outputs_{n}" if options.reuse else f"outputs_{n}_{selector}")
                stages, seconds, peak = run(pool, selector, root)
                if not options.keep and not options.reuse:
                    shutil.rmtree(root)
                found[selector, n] = stages
                shown = ", ".join(f"{name} {took:.1f}" for name, took in stages.items() if took >= 0.05)
                print(f"{n:>9,} {selector:<7} {seconds:6.1f} s {peak:5.2f} GB  {shown}", flush=True)
        for selector in options.selectors.split(",") if len(sizes) > 1 else []:
            (small, large), terms = sizes[-2:], []
            for name, seconds in found[selector, large].items():
                slope = (seconds - found[selector, small].get(name, 0.0)) / (large - small)
                terms.append(f"{name} {seconds - slope * large:.1f} + {1e6 * slope:.1f} n/10^6")
            print(f"{selector}: {'; '.join(terms)}")


if __name__ == "__main__":
    main()
