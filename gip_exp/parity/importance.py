"""DSIR against the authors' package `data-selection`."""

import contextlib
import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gip_exp.parity.agreement import Outcome, Pool, both, same_numbers, same_picks, timed

TARGETS = 64


def package_weights(
    raw: Sequence[str], target: Sequence[str], folder: Path, processes: int = 1, *, top: int = 0
) -> tuple[np.ndarray, list[int]]:
    """Return the package's log weights and its `top` rows of largest weight, in the order of the pool.

    Args:
        raw: Texts of the pool.
        target: Texts of the target.
        folder: An empty folder for the files that the package reads and writes.
        processes: Its processes.
        top: Rows to pick; 0 for none.
    """
    from data_selection import HashedNgramDSIR

    paths = {}
    for name, texts in (("raw", raw), ("target", target)):
        paths[name] = folder / f"{name}.jsonl"
        lines = (json.dumps({"text": text, "row": row}) + "\n" for row, text in enumerate(texts))
        paths[name].write_text("".join(lines), encoding="utf-8")
    peer = HashedNgramDSIR(
        [str(paths["raw"])],
        [str(paths["target"])],
        str(folder / "cache"),
        num_proc=processes,
        min_example_length=0,
    )
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars
        peer.fit_importance_estimator(num_tokens_to_fit="all")
        peer.compute_importance_weights()
        if top:
            peer.resample(str(folder / "out"), top, str(folder / "resampled"), top_k=True)
    weights = np.empty(len(raw))
    for shard in range(processes):  # a process takes every processes-th row
        weights[shard::processes] = np.load(
            folder / "cache" / "log_importance_weights" / f"{shard}.npy"
        ).ravel()
    rows = [
        json.loads(line)["row"]
        for path in sorted((folder / "out").glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return weights, sorted(rows)


def dsir_and_package(pool: Pool) -> Outcome:
    """Compare log weights and the rows of largest weight."""
    from baselines import dsir

    raw, target = pool.texts(pool.n, "raw"), pool.texts(TARGETS, "target")

    def run() -> tuple[np.ndarray, list[int]]:
        with tempfile.TemporaryDirectory() as folder:
            return package_weights(raw, target, Path(folder), top=pool.budget)

    ours, ours_s = timed(lambda: dsir.select(raw, target, 1.0, seed=pool.seed, top_k=True))
    (expected, picks), theirs_s = timed(run)
    weights = np.empty(len(raw))
    weights[ours.indices] = ours.gains
    found = both(
        same_numbers(weights, expected, 1e-9),
        same_picks(sorted(ours.indices[: pool.budget].tolist()), picks),
    )
    return Outcome(*found, ours_s, theirs_s)
