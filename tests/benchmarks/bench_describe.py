"""Seconds and memory of the selection report (stage `describe`) on large pools.

    python -m tests.benchmarks.bench_describe [--sizes 10000,100000,1000000] [--dimensions 256] [--share 0.01]

The rows are short (about 100 characters, all different), with one score and random embeddings (float32), which is the
worst case of the report: every row is described. The ranking is random and twice as long as the selection. Prints the
seconds of each part, the seconds of processors (the same on a busy machine) and the largest memory of the process.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gip_exp.config import parse
from gip_exp.selection_report import findings, markdown, page, scored
from gip_exp.selection_report.material import Material
from gip_exp.storage.row_table import RowTable
from gip_exp.sweep import expand

WORDS = "amber basil cedar delta ember fjord grove heron inlet joust kayak lemon maple north olive pearl quill".split()


def made(n: int, dimensions: int, share: float) -> Material:
    """A pool of n rows and a random ranking."""
    rng, drawn = random.Random(0), np.random.default_rng(0)
    texts = [" ".join(rng.choices(WORDS, k=8)) for _ in range(n)]
    columns = {
        "id": [f"train-{i:07d}" for i in range(n)],
        "prompt": [f"{text}?" for text in texts],
        "completion": [f"{text} {i}." for i, text in enumerate(texts[::-1])],
    }
    schema = pa.schema(
        {"id": pa.large_string(), "prompt": pa.large_string(), "completion": pa.large_string()}
    )
    order = drawn.permutation(n)[: int(2 * share * n)]
    pool = np.arange(n)
    return Material(
        rows=RowTable(pa.table(columns, schema=schema)),
        origins=None,
        pool=pool,
        order=order,
        gains=np.linspace(1, 0.5, len(order)),
        n_selected=len(order) // 2,
        scores={"reward": drawn.random(n)},
        signal=frozenset({"reward"}),
        categories={},
        described=pool,
        features=drawn.standard_normal((n, dimensions), dtype=np.float32),
        drawn=pool,
        embedder="random",
        by_features=True,
        left_out=[],
    )


def timed(call: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return (seconds, seconds of processors, result)."""
    start, before = time.perf_counter(), sum(os.times()[:4])
    result = call()
    return time.perf_counter() - start, sum(os.times()[:4]) - before, result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--dimensions", type=int, default=256)
    parser.add_argument("--share", type=float, default=0.01)
    options = parser.parse_args()
    config = parse(
        next(expand.compose([["+experiment=own_data", "data.path=pool.jsonl", f"budget={options.share}"]]))
    )
    for n in map(int, options.sizes.split(",")):
        material = made(n, options.dimensions, options.share)
        with tempfile.TemporaryDirectory() as folder:
            *find, found = timed(lambda material=material: findings.find(material))
            table = Path(folder) / "scored.parquet"
            *write, _ = timed(
                lambda material=material, found=found, table=table: scored.write(material, found, table)
            )
            *gather, content = timed(
                lambda material=material, found=found: page.content(config, material, found)
            )
            *render, html = timed(lambda content=content: page.render(content) + markdown.render(content))
        wall, busy = (sum(part[at] for part in (find, write, gather, render)) for at in (0, 1))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        parts = ", ".join(
            f"{name} {part[1]:.1f}"
            for name, part in (
                ("measures", find),
                ("scored.parquet", write),
                ("examples", gather),
                ("pages", render),
            )
        )
        print(
            f"{n:>9,} rows: {busy:.1f} s of processors ({parts}), {wall:.1f} s, {memory:.2f} GB, {len(html) / 1e6:.1f} MB"
        )


if __name__ == "__main__":
    main()
