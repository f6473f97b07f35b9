"""Longest: the rows with the longest completions (Zhao et al., arXiv 2402.04833: long is more for alignment).

Length is counted in characters, so that no tokenizer is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from baselines._checks import check_pool, ranking
from selection.checks import Problems
from selection.types import Selection


def select(completions: Sequence[str], budget: int | float) -> Selection:
    """Pick the longest completions; nested in budget, ties to the lowest index.

    Args:
        completions: n texts.
        budget: count or share of n (see `baselines._checks`).

    Returns:
        Selection; gains are lengths in characters.

    Raises:
        ValueError: naming every bad argument.

    Example:
        >>> select(["four", "a longer one", "two"], 2).indices.tolist()
        [1, 0]
    """
    problems = Problems()
    _, count = check_pool(problems, len(completions), budget, None)
    problems.raise_if_any()
    lengths = np.array([len(text) for text in completions])
    picks = np.argsort(-lengths, kind="stable")[:count]
    return ranking(picks, lengths[picks], objective={"mean_characters": float(lengths[picks].mean())})
