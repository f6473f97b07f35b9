"""Seconds and memory that the selection report (stage `describe`) takes on large pools, beside the whole run.

    python -m tests.benchmarks.bench_describe [--sizes 10000,100000,1000000] [--budget 0.01] [--folder DIR]

The rows are short (about 100 characters, all different), with one score, and their embeddings are random (64 dimensions,
float32), so that reading and embedding take as little time as they can: with real rows the report is a smaller part of
the run. A run of `random` has no embeddings; its report makes its own of a part of the pool. Memory is
the largest sum over the process and its children, sampled twice a second.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
from pathlib import Path

import numpy as np

from tests.benchmarks.bench_pool_size import run

WORDS = "amber basil cedar delta ember fjord grove heron inlet joust kayak lemon maple north olive pearl quill".split()
DIMENSIONS = 64


def write_pool(folder: Path, n: int) -> tuple[Path, Path]:
    """Write n rows and their embeddings; return the two files."""
    rng, rows, vectors = random.Random(0), folder / "rows.jsonl", folder / "vectors.npy"
    with rows.open("w", encoding="utf-8") as stream:
        for number in range(n):
            told = {
                "prompt": f"{' '.join(rng.choices(WORDS, k=6))}?",
                "completion": f"{' '.join(rng.choices(WORDS, k=6))} {number}.",
            }
            stream.write(json.dumps({**told, "reward": round(rng.random(), 4)}) + "\n")
    drawn = np.random.default_rng(0)
    mapped = np.lib.format.open_memmap(vectors, mode="w+", dtype=np.float32, shape=(n, DIMENSIONS))
    for start in range(0, n, 100_000):
        block = mapped[start : start + 100_000]
        block[:] = drawn.standard_normal(block.shape, dtype=np.float32)
    mapped.flush()
    return rows, vectors


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--selectors", default="mp_metadata,random")
    parser.add_argument("--budget", default="0.01")
    parser.add_argument("--folder", type=Path, help="for the pools; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        for n in map(int, options.sizes.split(",")):
            rows, vectors = write_pool(Path(temporary), n)
            for selector in options.selectors.split(","):
                root = Path(temporary) / "outputs"
                more = [
                    "data.metadata=[reward]",
                    "embedder=file",
                    f"embedder.path={vectors}",
                    f"budget={options.budget}",
                ]
                stages, seconds, peak = run(rows, selector, root, more)
                [page] = root.glob("runs/*/*/selection.html")
                size = page.stat().st_size / 1e6
                shutil.rmtree(root)
                shown = ", ".join(f"{name} {took:.1f}" for name, took in stages.items() if took >= 0.05)
                print(
                    f"{n:>9,} {selector:<11} {seconds:6.1f} s {peak:5.2f} GB, page {size:.1f} MB;  {shown}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
