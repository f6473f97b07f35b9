"""Rows in a given order, without those that resemble an earlier pick; used by `deita` and `distinct_random`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from baselines._checks import FloatArray, IntArray

_BLOCK = 512  # rows compared with all picks in one product


def apart(
    features: FloatArray, order: IntArray, count: int, *, at_most: float, note: Callable[[str], None] | None
) -> IntArray:
    """Return `count` rows: the first of `order` whose cosine to every earlier pick is at most `at_most`.

    Rows that are too close follow after all others, in their order, so that every budget works and picks are nested.

    Args:
        features: (n, d) unit rows.
        order: (n,) permutation of the rows.
        count: number of picks.
        at_most: largest cosine allowed.
        note: called with a sentence if rows that are too close had to be picked.
    """
    picks, close = np.empty(0, dtype=np.int64), []
    for start in range(0, len(order), _BLOCK):
        if len(picks) >= count:
            break
        block = order[start : start + _BLOCK]
        near = np.any(features[block] @ features[picks].T > at_most, axis=1)
        within = features[block] @ features[block].T > at_most
        kept: list[int] = []
        for at in range(len(block)):
            if near[at] or within[at, kept].any():
                close.append(int(block[at]))
            else:
                kept.append(at)
        picks = np.concatenate([picks, block[kept]])
    if len(picks) < count and note is not None:
        note(
            f"only {len(picks):,} rows have no cosine above {at_most:g} to an earlier pick, so picks after the first "
            f"{len(picks):,} resemble one"
        )
    return np.concatenate([picks, np.array(close, dtype=np.int64)])[:count]
