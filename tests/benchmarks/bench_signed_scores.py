"""What to do with scores below zero: the share of junk that GIP selects from Alpaca under every way to map them.

A random quarter of the rows is junk and scores worse; 10 % are selected by `mp` with the defaults. `as they are` is
`signed_scores=True`; `5 % -> 0` is `selection.signals.shift_scores`.

Run: python -m tests.benchmarks.bench_signed_scores
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from baselines import top_score
from selection import gip_select
from selection.signals import shift_scores
from tests.benchmarks.alpaca_pool import alpaca, tfidf

JUNK, BUDGET = 0.25, 0.1


def columns(junk: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Score columns (n, k) as people have them, larger better."""

    def normal(good: float, bad: float, deviation: float = 1.5) -> np.ndarray:
        return rng.normal(np.where(junk, bad, good), deviation)

    rewards, reward = normal(-3, -9), normal(2, -4)
    rating = np.maximum(normal(5, 2, 0.8), 0.5)
    loss = np.exp(rng.normal(np.log(np.where(junk, 5, 1.5)), 0.4))
    summed = loss * 100 * np.exp(rng.normal(0, 0.5, len(junk)))
    first = np.flatnonzero(junk)
    found = {
        "rewards about -3, junk -9": rewards,
        "rewards about 2, junk -4": reward,
        "the same, standardised": (reward - reward.mean()) / reward.std(),
        "ratings 0.5 to 7": rating,
        "one of them -0.3": _with(rating, first[:1], -0.3),
        "one of them -999": _with(rating, first[:1], -999),
        "1 % of them -999": _with(rating, first[: len(junk) // 100], -999),
        "log probability a token": -loss,
        "log probability of the whole reply": -summed,
    }
    return {name: values[:, None] for name, values in found.items()} | {
        "rewards beside 1-to-5 grades": np.column_stack([rewards, np.clip(np.round(normal(4, 2, 0.8)), 1, 5)])
    }


def _with(values: np.ndarray, rows: np.ndarray, value: float) -> np.ndarray:
    changed = values.copy()
    changed[rows] = value
    return changed


MAPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as they are": lambda scores: scores,
    "lowest -> 0": lambda scores: shift_scores(scores, share=0.0),
    "1 % -> 0": lambda scores: shift_scores(scores, share=0.01),
    "5 % -> 0": shift_scores,
    "25 % -> 0": lambda scores: shift_scores(scores, share=0.25),
    "negative -> 0": lambda scores: np.maximum(scores, 0),
    "ranks": lambda scores: scores.argsort(axis=0).argsort(axis=0) / len(scores),
}


def main() -> None:
    features = tfidf(alpaca())
    n, rng = len(features), np.random.default_rng(0)
    junk = np.zeros(n, dtype=bool)
    junk[rng.permutation(n)[: round(JUNK * n)]] = True
    print(f"| scores | {' | '.join(MAPS)} | top score |")
    print("|---|" + "---:|" * (len(MAPS) + 1))
    for name, scores in columns(junk, rng).items():
        shares = []
        for mapped in (change(scores) for change in MAPS.values()):
            if not mapped.any(axis=0).all():
                shares.append("-")
                continue
            picks = gip_select(features, BUDGET, scores=mapped, signed_scores=True).indices
            shares.append(f"{junk[picks].mean():.3f}")
        shares.append(f"{junk[top_score.select(scores, BUDGET).indices].mean():.3f}")
        print(f"| {name} | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
