"""Vectors of many texts in shards on disk: resumable, and divided among processes.

Texts are encoded longest first, so that batches need little padding and an out-of-memory error shows in the first batch.
A shard holds `SHARD` of them, and its name is its first place in this order; neither depends on the number of processes,
so a killed stage continues with any number of them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from gip_exp.storage.files import write_array

SHARD = 1024  # rows per file, so at most this many are lost when a process is killed
OnRows = Callable[[int, bool], None]
Encoder = Callable[[Sequence[str]], np.ndarray]  # texts -> (n, d) float32


def longest_first(texts: Sequence[str]) -> np.ndarray:
    """Return the row numbers (n,) int64 of the texts in descending length; equally long ones in ascending order."""
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    return np.argsort(-lengths, kind="stable")


def encode_shards(
    texts: Sequence[str],
    order: np.ndarray,
    make: Callable[[], Encoder],
    folder: Path,
    on_shard: OnRows = lambda *_: None,
    *,
    rank: int = 0,
    world: int = 1,
) -> None:
    """Encode the shards of one process that do not exist yet.

    Each gets one of every `world` neighbouring shards, so that all get long and short texts.

    Args:
        texts: n texts.
        order: `longest_first(texts)`.
        make: Loads the encoder; called only if a shard is missing.
        folder: Folder of the shards.
        on_shard: Called with (rows, whether the shard existed) after each shard. Rows of the shards that the other
            processes work on at the same time are counted as well.
        rank: Number of this process.
        world: Number of processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    encoder: Encoder | None = None
    for turn, first in enumerate(range(0, len(order), world * SHARD)):
        # Back and forth, or the first process would have the longest texts of every turn.
        start = first + (world - 1 - rank if turn % 2 else rank) * SHARD
        chosen = order[start : start + SHARD]
        path = _path(folder, start)
        kept = _read_shard(path, len(chosen)) is not None
        if len(chosen) and not kept:
            encoder = encoder or make()
            write_array(path, encoder([texts[i] for i in chosen.tolist()]))
        on_shard(min(world * SHARD, len(order) - first), kept)


def collect(folder: Path, order: np.ndarray, path: Path) -> np.ndarray:
    """Write the vectors of finished shards to a file, in the order of the texts.

    Args:
        folder: Folder of the shards.
        order: The order in which they were encoded.
        path: The file, replaced if it exists.

    Returns:
        (n, d) float32, the file mapped into memory.
    """
    vectors: np.ndarray | None = None
    for start in range(0, len(order), SHARD):
        chosen = order[start : start + SHARD]
        shard = _read_shard(_path(folder, start), len(chosen))
        assert shard is not None, f"{_path(folder, start)} is incomplete"
        if vectors is None:
            shape = (len(order), shard.shape[1])
            vectors = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        vectors[chosen] = shard
    assert vectors is not None, "no texts"
    vectors.flush()  # type: ignore[attr-defined]
    return vectors


def _path(folder: Path, start: int) -> Path:
    return folder / f"{start:09d}.npy"


def _read_shard(path: Path, rows: int) -> np.ndarray | None:
    """Read a shard; None if it does not exist or is incomplete."""
    try:
        shard = np.load(path, allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return shard if shard.ndim == 2 and len(shard) == rows else None
