"""DSIR against the authors' package, all of GSM8K train, 128 target rows: same weights, examples per second.

Run: GIP_DATA=... python tests/benchmarks/bench_dsir.py [repeats]; the peer needs `pip install
data-selection`. Both take texts in memory to log weights; the package also reads and writes small files,
which its interface demands.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from baselines import dsir
from gip_exp.parity.importance import package_weights


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    data = Path(os.environ.get("GIP_DATA", Path(__file__).parents[2] / "../shared/data"))
    lines = (data / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [f"{row['question']}\n{row['answer']}" for row in map(json.loads, lines)]
    order = np.random.default_rng(0).permutation(len(texts))
    target, raw = [texts[i] for i in order[:128]], [texts[i] for i in order[128:]]
    processes = len(os.sched_getaffinity(0))
    ours, theirs = [], []
    for _ in range(repeats):  # in turns, so that a busy machine hurts both
        start = time.perf_counter()
        picked = dsir.select(raw, target, 1.0, seed=0, top_k=True)
        ours.append(time.perf_counter() - start)
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            expected, _ = package_weights(raw, target, Path(folder), processes)
            theirs.append(time.perf_counter() - start)
    weights = np.empty(len(raw))
    weights[picked.indices] = picked.gains
    worst = np.max(np.abs(weights - expected) / np.abs(expected))
    print(f"{len(raw)} examples; largest relative difference {worst:.1e}")
    print(f"ours (1 process):           {len(raw) / min(ours):9.0f} examples/s")
    print(f"data-selection ({processes} processes): {len(raw) / min(theirs):9.0f} examples/s")
    best, median = min(theirs) / min(ours), np.median(theirs) / np.median(ours)
    print(f"ratio {best:.1f} (best of {repeats} each; median {median:.1f})")


if __name__ == "__main__":
    main()
