"""Seconds of `select_rows` against the same selection written by hand: TF-IDF by scikit-learn and matching pursuit in NumPy.

    python -m tests.benchmarks.bench_select_rows [--repeats 3]

Both take the rows of Alpaca as dicts and 5 % of them by the length of the reply, and return the rows. The loop by hand
reads no file, checks nothing, keeps near-copies and writes nothing; `select_rows` also writes the report and
`scored.parquet` (the seconds of the last call are listed by stage). With `embeddings=` both get the same vectors, so
their picks can be compared. Prints medians. Data: the folder GIP_DATA, default ../shared/data.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gip_exp import select_rows
from gip_exp.quiet import quiet_libraries
from tests.benchmarks.alpaca_pool import alpaca, tfidf

SHARE, RIDGE = 0.05, 1.0  # the ridge is that of conf/selector/mp_metadata.yaml
Rows = list[dict[str, str]]


def length(row: dict[str, str]) -> float:
    return float(len(row["completion"]))


def by_hand(rows: Rows, features: np.ndarray | None = None) -> np.ndarray:
    features = tfidf(rows) if features is None else features.astype(np.float32)
    features -= features.mean(axis=0)
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    correlation = np.array([length(row) for row in rows], dtype=np.float32)
    correlation /= np.sqrt(np.mean(correlation**2))
    open_, picks = np.ones(len(rows), dtype=bool), []
    for _ in range(int(SHARE * len(rows))):
        pick = int(np.argmax(np.where(open_, correlation**2, -1)))
        picks.append(pick)
        open_[pick] = False
        correlation -= correlation[pick] / (1 + RIDGE) * (features @ features[pick])
    return np.array(picks)


def by_call(rows: Rows, features: np.ndarray | None = None) -> tuple[np.ndarray, dict[str, float]]:
    with tempfile.TemporaryDirectory() as root:
        subset = select_rows(rows, SHARE, scores={"length": length}, embeddings=features, root=root)
        stages = json.loads((Path(subset.folder) / "result.json").read_text())["stages"]
    return subset.indices, {name: stage["seconds"] for name, stage in stages.items()}


def median(call: Callable[[], Any], repeats: int) -> tuple[str, Any]:
    """Return (medians of the seconds, and of those of the processors; last result)."""
    times, busy, result = [], [], None
    for _ in range(repeats):
        start, before = time.perf_counter(), sum(os.times()[:4])
        result = call()
        times.append(time.perf_counter() - start)
        busy.append(sum(os.times()[:4]) - before)
    return f"{statistics.median(times):.2f} s ({statistics.median(busy):.2f} s of processors)", result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    quiet_libraries()
    rows = alpaca()
    features = tfidf(rows)
    by_call(rows[:100])  # imports
    for name, given in (("with TF-IDF", None), ("embeddings given", features)):
        hand, own = median(lambda given=given: by_hand(rows, given), repeats)
        called, (picks, stages) = median(lambda given=given: by_call(rows, given), repeats)
        same = len(np.intersect1d(own, picks)) / len(picks)
        print(f"{len(rows):,} rows, {len(picks)} picks, {name}: by hand {hand}, select_rows {called}")
        print("   " + ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in stages.items()))
        print(f"   {same:.1%} of the picks are the same")


if __name__ == "__main__":
    main()
