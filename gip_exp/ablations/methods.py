"""Selections compared by ablations, by selector name. Arrays in, row numbers out, best first."""

from typing import Any

import numpy as np

from gip_exp.config.selector import GipSelector
from gip_exp.errors import as_user_errors
from selection import Selection

GATE = 0.5  # of gate_random, as in conf/selector/gate_random.yaml
# Greedy rule by selector name; the other options of GIP come from the selector of the config.
GIP = {"mp_ma": "mp", "omp_ma": "omp", "logdet_ma": "logdet", "mp_sc": "mp", "mp_sc_column": "mp"}


def gip(
    features: np.ndarray,
    scores: np.ndarray | None,
    budget: int,
    rule: GipSelector,
    **changes: Any,
) -> Selection:
    """Run GIP by `rule` with `changes` to its options; UserError for arguments that gip_select refuses."""
    from selection import gip_select

    options = rule.model_dump(exclude={"kind", "name", "signal", "signals", "processes"}) | changes
    with as_user_errors():
        # Some tables centre or disturb the scores on purpose, to show what negative ones do.
        return gip_select(features, budget, scores=scores, signed_scores=True, **options)


def choose(
    method: str,
    features: np.ndarray,
    scores: np.ndarray,
    budget: int,
    *,
    rule: GipSelector,
    seed: int = 0,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Return (budget,) picks by `method` among `rows` (default: all); only random methods use `seed`."""
    from baselines import gate_random, random, top_score

    if method in GIP:
        kept = np.arange(len(features)) if rows is None else rows
        signal = _signal(method, features[kept], scores[kept], rule)
        return kept[gip(features[kept], signal, budget, rule, method=GIP[method]).indices]
    mask = None if rows is None else np.isin(np.arange(len(features)), rows)
    with as_user_errors():
        if method == "top_score":
            return top_score.select(scores, budget, candidates=mask).indices
        if method == "gate_random":
            return gate_random.select(scores, budget, seed=seed, gate=GATE, candidates=mask).indices
        assert method == "random", method
        return random.select(len(features), budget, seed=seed, candidates=mask).indices


def _signal(method: str, features: np.ndarray, scores: np.ndarray, rule: GipSelector) -> np.ndarray | None:
    """Return the scores that a GIP method reads; None if the data set is its own query."""
    if method == "mp_sc":
        return None
    if method == "mp_sc_column":
        from selection.self_compression import self_compression

        return self_compression(features, center=rule.center, normalize=rule.normalize)[:, None]
    return scores


def is_seeded(method: str) -> bool:
    """Return whether a method depends on the seed."""
    return method in ("random", "gate_random")
