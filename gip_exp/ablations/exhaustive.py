"""Exhaustive search over the subsets of a small pool: the best by determinant and the best by trace.

Symbols: F (n, d) rows centred and scaled to unit length; S (n, k) scores, columns divided by their root mean
square; K = F F^T + lam I; T = S^T K^-1 S; for a subset A, R_A = T - S_A^T K_AA^-1 S_A, what it does not cover.
"""

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from gip_exp.errors import UserError

MOST = 200_000  # subsets searched at most
BLOCK = 8192


@dataclass(frozen=True, eq=False)
class Landscape:
    """Both objectives of every subset.

    Attributes:
        subsets: (m, b) ascending row numbers.
        information: (m,) 1/2 log det(I + T/noise) - 1/2 log det(I + R_A/noise), nats.
        energy: (m,) tr T - tr R_A.
    """

    subsets: np.ndarray
    information: np.ndarray
    energy: np.ndarray

    def of(self, picks: np.ndarray) -> int:
        """Return the row of `subsets` that holds these picks."""
        return int(np.flatnonzero((self.subsets == np.sort(picks)).all(axis=1))[0])

    @property
    def best_by_determinant(self) -> int:
        """Row of the subset with the most information."""
        return int(self.information.argmax())

    @property
    def best_by_trace(self) -> int:
        """Row of the subset with the most energy."""
        return int(self.energy.argmax())


def check_size(rows: int, picks: int) -> None:
    """Raise UserError if an exhaustive search would take too long."""
    if not 1 <= picks < rows:
        raise UserError(f"ablation.picks={picks}: give a count from 1 to ablation.rows - 1 = {rows - 1}")
    if comb(rows, picks) > MOST:
        raise UserError(
            f"ablation.rows={rows} and ablation.picks={picks} mean {comb(rows, picks):,} subsets; "
            f"at most {MOST:,} are searched: lower one of them"
        )


def prepared(features: np.ndarray, *, center: bool, normalize: bool) -> np.ndarray:
    """Return F in float64, prepared as by gip_select."""
    values = np.asarray(features, dtype=np.float64)
    if center:
        values = values - values.mean(axis=0)
    return values / np.linalg.norm(values, axis=1, keepdims=True) if normalize else values


def landscape(
    features: np.ndarray,
    scores: np.ndarray,
    picks: int,
    *,
    ridge: float,
    noise: float,
    center: bool = True,
    normalize: bool = True,
) -> Landscape:
    """Search all subsets of `picks` rows of features (n, d) with scores (n, k); ridge and noise > 0."""
    rows = prepared(features, center=center, normalize=normalize)
    S = scores / np.sqrt(np.square(scores).mean(axis=0))
    K = rows @ rows.T + ridge * np.eye(len(rows))
    T = S.T @ np.linalg.solve(K, S)
    subsets = np.array(list(combinations(range(len(rows)), picks)))
    covered = np.concatenate(
        [_covered(K, S, subsets[start : start + BLOCK]) for start in range(0, len(subsets), BLOCK)]
    )
    eye = np.eye(len(T))
    before = np.linalg.slogdet(eye + T / noise)[1]
    after = np.linalg.slogdet(eye + (T - covered) / noise)[1]
    return Landscape(subsets, (before - after) / 2, np.trace(covered, axis1=1, axis2=2))


def _covered(K: np.ndarray, S: np.ndarray, subsets: np.ndarray) -> np.ndarray:
    """Return S_A^T K_AA^-1 S_A, (m, k, k), for subsets (m, b)."""
    gram = K[subsets[:, :, None], subsets[:, None, :]]
    chosen = S[subsets]
    return chosen.transpose(0, 2, 1) @ np.linalg.solve(gram, chosen)
