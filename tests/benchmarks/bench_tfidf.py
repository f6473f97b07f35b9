"""What TF-IDF embeddings learned from a sample of the pool cost the selection, against those learned from all of it.

    python -m tests.benchmarks.bench_tfidf [--seeds 3]

Pools: the quickstart's 2,000 rows (labelled flaws), and Alpaca with a quarter of junk (shuffled words, truncated or
foreign replies). For each way of fitting: seconds, share of clean rows and coverage among 10 % by MP+SC and MP+MA (rule
judge), and the share of the picks that the full fit makes too. Coverage = mean over the pool of the best cosine to a
pick, on the embeddings of the full fit. Data: the folder GIP_DATA, default ../shared/data.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from gip_exp.data.arithmetic import make_pool
from gip_exp.models.embedders.tfidf import embed
from gip_exp.signals import rules
from selection import gip_select
from tests.benchmarks.alpaca_pool import alpaca

Rows = list[dict[str, str]]


def quickstart() -> tuple[Rows, np.ndarray, str]:
    problems = make_pool(2000, 0)
    rows = [{"prompt": problem.question, "completion": problem.answer} for problem in problems]
    return rows, np.array([problem.flaw is None for problem in problems]), "math"


def alpaca_with_junk() -> tuple[Rows, np.ndarray, str]:
    rng, rows = random.Random(0), alpaca()
    clean = np.ones(len(rows), dtype=bool)
    for at in rng.sample(range(len(rows)), len(rows) // 4):
        words = rows[at]["completion"].split()
        other = rows[rng.randrange(len(rows))]["completion"]
        rng.shuffle(words)
        junk = (" ".join(words), rows[at]["completion"][: max(1, len(rows[at]["completion"]) // 2)], other)
        rows[at] = {"prompt": rows[at]["prompt"], "completion": rng.choice(junk)}
        clean[at] = False
    return rows, clean, "instruction"


def embedded(texts: Sequence[str], **options: Any) -> tuple[np.ndarray, float]:
    start = time.perf_counter()
    fixed = {"dimensions": 256, "ngrams": 2, "min_count": 2}
    features = embed(texts, lambda _: None, {}, lambda _: None, **fixed, **options)
    return features, time.perf_counter() - start


def coverage(features: np.ndarray, picks: np.ndarray) -> float:
    unit = features - features.mean(axis=0)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    return float((unit @ unit[picks].T).max(axis=1).mean())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    print(
        f"{'pool':<10} {'rows':>6} {'n-grams':>9} {'fitted on':>9} {'s':>6}  rule  clean coverage same picks"
    )
    for name, (rows, clean, rubric) in {"quickstart": quickstart(), "alpaca": alpaca_with_junk()}.items():
        texts = [f"{row['prompt']}\n{row['completion']}" for row in rows]
        scores = np.nan_to_num(np.column_stack(list(rules.score(rows, rubric).values())))
        scores = scores[:, np.ptp(scores, axis=0) > 0]
        full, first = None, {}
        for ngrams, part in ((2**31, 1.0), (2**16, 1.0), (2**16, 0.5), (2**16, 0.25), (2**16, 0.1)):
            found: dict[str, list[tuple[float, ...]]] = {"mp_sc": [], "mp_ma": []}
            seconds = []
            for seed in seeds:
                features, took = embedded(
                    texts, max_ngrams=ngrams, fit_rows=round(part * len(rows)), seed=seed
                )
                seconds.append(took)
                full = features if full is None else full
                for rule, given in {"mp_sc": {}, "mp_ma": {"scores": scores}}.items():
                    picks = gip_select(features, 0.1, **given)
                    first.setdefault(rule, picks.indices)
                    same = np.isin(picks.indices, first[rule]).mean()
                    found[rule].append((clean[picks.indices].mean(), coverage(full, picks.indices), same))
            for rule, values in found.items():
                shares = "  ".join(f"{value:.3f}" for value in np.mean(values, axis=0))
                shown = "all" if ngrams > 2**16 else f"{ngrams:,}"
                print(
                    f"{name:<10} {len(rows):>6,} {shown:>9} {round(part * len(rows)):>9,} {np.median(seconds):>6.1f}  "
                    f"{rule}  {shares}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
