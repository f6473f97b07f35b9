"""Quality and coverage of selection rules on GSM8K: centring, ridge and rule against random and top score.

    python tests/benchmarks/bench_selection_coverage.py                     # TF-IDF + SVD embeddings, 384-d
    python tests/benchmarks/bench_selection_coverage.py --embeddings F.npy  # any encoder's, a row per example

Four synthetic attributes (1 to 5, independent of the text) stand for a judge. Quality = mean attribute of the
subset; coverage = mean over the pool of the best cosine to a row of the subset, on raw embeddings. Random
rows and attributes are averaged over `--seeds`. Data: the folder GIP_DATA, default ../shared/data.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from selection import gip_select

RULES = {
    "mp, not centred, ridge 1": {"center": False},
    "mp, not centred, ridge 0.1": {"center": False, "ridge": 0.1},
    "mp, not centred, ridge 0": {"center": False, "ridge": 0.0},
    "mp, centred, ridge 0": {"ridge": 0.0},
    "mp, centred, ridge 0.1": {"ridge": 0.1},
    "mp, centred, ridge 1": {},
    "omp, centred, ridge 0.1": {"ridge": 0.1, "method": "omp"},
    "omp, centred, ridge 1": {"method": "omp"},
    "logdet, centred, ridge 1": {"method": "logdet"},
}


def gsm8k_texts() -> list[str]:
    """Question, newline, answer of every training example."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("GIP_DATA", beside))
    with (folder / "gsm8k" / "train.jsonl").open() as lines:
        return [f"{row['question']}\n{row['answer']}" for row in map(json.loads, lines)]


def tfidf_embeddings(texts: list[str], dimensions: int) -> np.ndarray:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(sublinear_tf=True, min_df=2).fit_transform(texts)
    return TruncatedSVD(dimensions, random_state=0).fit_transform(words).astype(np.float32)


def coverage(unit: np.ndarray, chosen: np.ndarray) -> float:
    """Mean over the pool (n, d) of the best cosine to a chosen row."""
    return float((unit @ unit[chosen].T).max(axis=1).mean())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--embeddings", type=Path)
    parser.add_argument("--budget", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    features = np.load(options.embeddings) if options.embeddings else tfidf_embeddings(gsm8k_texts(), 384)
    features = features[np.linalg.norm(features, axis=1) > 0]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    n, count = len(unit), max(1, round(options.budget * len(unit)))
    shared = float(np.linalg.norm(unit.mean(axis=0)) ** 2)
    print(f"{n} x {unit.shape[1]}, {count} picks, mean cosine {shared:.2f}")
    table: dict[str, list[tuple[float, float]]] = {name: [] for name in ("random", "top score", *RULES)}
    for seed in range(options.seeds):
        rng = np.random.default_rng(seed)
        scores = rng.integers(1, 6, size=(n, 4)).astype(float)
        subsets = {"random": rng.permutation(n)[:count]}
        subsets["top score"] = np.argsort(-scores.mean(axis=1), kind="stable")[:count]
        for name, rule in RULES.items():
            subsets[name] = gip_select(features, count, scores=scores, **rule).indices
        for name, chosen in subsets.items():
            table[name].append((scores[chosen].mean(), coverage(unit, chosen)))
    for name, values in table.items():
        quality, covered = np.mean(values, axis=0)
        print(f"  {name:<28} quality {quality:.2f}   coverage {covered:.3f}", flush=True)
    few = max(1, count // 4)
    print(f"self-compression, {few} picks")
    drawn = [
        coverage(unit, np.random.default_rng(s).permutation(n)[:few]) for s in range(max(5, options.seeds))
    ]
    print(f"  {'random':<28} coverage {np.mean(drawn):.3f}")
    for method in ("mp", "omp", "logdet"):
        chosen = gip_select(features, few, method=method).indices
        print(f"  {method:<28} coverage {coverage(unit, chosen):.3f}", flush=True)


if __name__ == "__main__":
    main()
