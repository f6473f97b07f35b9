"""DiSF on one batch (1,024 candidates, 16 picks, 768-d) against the plain loop: same picks.

Run: python tests/benchmarks/bench_disf.py
"""

from __future__ import annotations

import time

import numpy as np
import torch

from baselines import disf

N, D, K = 1024, 768, 16


def plain_loop(X: torch.Tensor, k: int, first: int) -> list[int]:
    """A (d, d) correlation matrix for every candidate of every step."""
    picks = [first]
    while len(picks) < k:
        best, lowest = -1, float("inf")
        for j in range(len(X)):
            if j in picks:
                continue
            rows = X[[*picks, j]]
            Z = (rows - rows.mean(0)) / (rows.var(0) + 1e-8).sqrt()
            R = Z.T @ Z / (len(rows) - 1)
            value = float((R**2).sum() - (R.diagonal() ** 2).sum())
            if value < lowest:
                best, lowest = j, value
        picks.append(best)
    return picks


def main() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, D))[rng.integers(20, size=N)] + rng.normal(size=(N, D)) + 0.5
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    disf.select(X, 2, batch_size=N, seed=0)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        ours = disf.select(X, K, batch_size=N, seed=0).indices.tolist()
        times.append(time.perf_counter() - start)
    start = time.perf_counter()
    naive = plain_loop(torch.from_numpy(X), K, ours[0])
    took = time.perf_counter() - start
    print(f"{N} candidates, {K} picks, {D}-d, float64, {torch.get_num_threads()} threads")
    print(f"plain loop {took:.2f} s, ours {min(times):.3f} s (best of 3), ratio {took / min(times):.0f}")
    print(f"same picks: {ours == naive}")


if __name__ == "__main__":
    main()
