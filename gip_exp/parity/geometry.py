"""Facility location and log-determinant against submodlib and apricot, and GIP against its definition."""

from typing import Any

import numpy as np

from gip_exp.parity.agreement import Outcome, Pool, both, same_numbers, same_picks, timed


def submodlib_cover(unit: np.ndarray, budget: int) -> list[int]:
    """Return submodlib's lazy greedy picks for facility location on the cosine of unit rows."""
    from submodlib import FacilityLocationFunction

    function = FacilityLocationFunction(n=len(unit), mode="dense", data=unit, metric="cosine")
    return [pick for pick, _ in function.maximize(budget=budget, optimizer="LazyGreedy", show_progress=False)]


def apricot_cover(unit: np.ndarray, budget: int) -> Any:
    """Return apricot's lazy greedy facility location on the cosine of unit rows (`ranking`, `gains`)."""
    from apricot import FacilityLocationSelection

    similar = np.maximum(unit @ unit.T, 0).astype(np.float64)
    return FacilityLocationSelection(budget, metric="precomputed", optimizer="lazy").fit(similar)


def cover_and_submodlib(pool: Pool) -> Outcome:
    """Compare the picks of facility location."""
    from baselines import facility_location

    ours, ours_s = timed(lambda: facility_location.select(pool.features, pool.budget))
    theirs, theirs_s = timed(lambda: submodlib_cover(pool.features, pool.budget))
    return Outcome(*same_picks(ours.indices.tolist(), theirs), ours_s, theirs_s)


def cover_and_apricot(pool: Pool) -> Outcome:
    """Compare the picks and gains of facility location."""
    from baselines import facility_location

    ours, ours_s = timed(lambda: facility_location.select(pool.features, pool.budget))
    theirs, theirs_s = timed(lambda: apricot_cover(pool.features, pool.budget))
    picks = same_picks(ours.indices.tolist(), theirs.ranking.tolist())
    return Outcome(*both(picks, same_numbers(ours.gains, theirs.gains, 1e-9)), ours_s, theirs_s)


def log_det_and_submodlib(pool: Pool) -> Outcome:
    """Compare log det of our picks with submodlib's for its own, and for ours.

    Picks are not compared: with unit rows all first gains are equal, and submodlib takes the one that rounding favours.
    """
    from submodlib import LogDeterminantFunction

    from baselines import dpp

    kernel = (pool.features @ pool.features.T).astype(np.float64)

    def run() -> tuple[float, float]:
        function = LogDeterminantFunction(n=pool.n, mode="dense", sijs=kernel, lambdaVal=1.0)
        picks = function.maximize(budget=pool.budget, optimizer="LazyGreedy", show_progress=False)
        return sum(gain for _, gain in picks), function.evaluate({*ours.indices.tolist()})

    ours, ours_s = timed(lambda: dpp.select(pool.features, pool.budget, ridge=1.0))
    (own, of_ours), theirs_s = timed(run)
    reached = ours.objective["log_det"]
    same, words = same_numbers([reached], [of_ours], 1e-5)
    better = reached >= own - 1e-3 * abs(
        own
    )  # another first pick leads to other picks of nearly the same value
    return Outcome(
        same and better, f"{words} for our picks; ours {reached:.4f}, its own {own:.4f}", ours_s, theirs_s
    )


def gip_and_definition(pool: Pool) -> Outcome:
    """Compare GIP's picks (matching pursuit, four scores) with the definition on the whole Gram matrix."""
    import torch

    from selection import gip_select

    ours, ours_s = timed(
        lambda: gip_select(pool.features, pool.budget, scores=pool.scores, dtype=torch.float64)
    )
    theirs, theirs_s = timed(lambda: matching_pursuit(pool.features, pool.scores, pool.budget))
    return Outcome(*same_picks(ours.indices.tolist(), theirs), ours_s, theirs_s)


def matching_pursuit(features: np.ndarray, scores: np.ndarray, budget: int, ridge: float = 1.0) -> list[int]:
    """Return the picks of the definition: centred unit rows, scores divided by their root mean square.

    Args:
        features: (n, d).
        scores: (n, k), the first correlations.
        budget: Number of picks; all of one round.
        ridge: Added to the diagonal of the Gram matrix.
    """
    rows = features - features.mean(axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gram = rows @ rows.T + ridge * np.eye(len(rows))
    residual = scores / np.sqrt((scores**2).mean(axis=0))
    free, picks = np.ones(len(rows), dtype=bool), []
    for _ in range(budget):
        gains = np.where(free, (residual**2).sum(axis=1) / np.diag(gram), -np.inf)
        pick = int(gains.argmax())
        residual = residual - np.outer(gram[:, pick] / gram[pick, pick], residual[pick])
        free[pick] = False
        picks.append(pick)
    return picks
