"""Agreement of repeated votes, attribute by attribute.

Symbols: x_iv the score of vote v for example i; m_i the number of readable votes of example i; only examples with
m_i >= 2 count, N = sum of their m_i.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Agreement:
    """Agreement per attribute.

    Attributes:
        attributes: names, in the order of the table.
        exact: share of vote pairs that are equal.
        distance: mean absolute difference within a pair, in points.
        alpha: Krippendorff's alpha for interval data (1 perfect, 0 as by chance; NaN if all votes are equal).
        n_examples: examples with at least two readable votes.
    """

    attributes: tuple[str, ...]
    exact: NDArray[np.float64]
    distance: NDArray[np.float64]
    alpha: NDArray[np.float64]
    n_examples: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, NaN as None."""
        rows = zip(self.attributes, self.exact, self.distance, self.alpha, strict=True)
        values = {
            name: {"exact": _plain(e), "distance": _plain(d), "alpha": _plain(a)} for name, e, d, a in rows
        }
        return {"n_examples": self.n_examples, "attributes": values}


def vote_agreement(votes: NDArray[np.float64], attributes: Sequence[str]) -> Agreement | None:
    """Return the agreement in `votes` (examples x votes x attributes, NaN = unreadable vote).

    None if no example has two readable votes. A vote is readable for all attributes or for none.
    """
    readable = np.logical_not(np.isnan(votes).any(axis=2))
    repeated = readable.sum(axis=1) >= 2
    votes, readable = votes[repeated], readable[repeated]
    if not len(votes):
        return None
    k = votes.shape[2]
    pairs, equal, distance, within = 0, np.zeros(k), np.zeros(k), np.zeros(k)
    m = readable.sum(axis=1)
    for a in range(votes.shape[1]):
        for b in range(a + 1, votes.shape[1]):
            both = readable[:, a] & readable[:, b]
            gap = votes[both, a] - votes[both, b]
            pairs += int(both.sum())
            equal += (gap == 0).sum(axis=0)
            distance += np.abs(gap).sum(axis=0)
            within += (2 * gap**2 / (m[both] - 1)[:, None]).sum(axis=0)
    values = votes[readable]
    n = len(values)
    # Observed disagreement D_o = within / N; expected D_e = mean squared gap over all ordered pairs.
    between = 2 * (n * (values**2).sum(axis=0) - values.sum(axis=0) ** 2) / (n - 1)
    alpha = np.full(k, np.nan)
    varied = between > 1e-12
    alpha[varied] = 1 - within[varied] / between[varied]
    return Agreement(tuple(attributes), equal / pairs, distance / pairs, alpha, len(votes))


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
