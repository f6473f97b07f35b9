"""`rank`: the selector orders the pool, best first, as far as the budget class needs (budgets share a ranking).

Writes `ranking.parquet`: row (number in the data's order), id, gain, in pick order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gip_exp.config import Config
from gip_exp.config.base import content
from gip_exp.config.selector import (
    DisfSelector,
    DppSelector,
    DsirSelector,
    FacilityLocationSelector,
    FullSelector,
    GateRandomSelector,
    GipSelector,
    LessSelector,
    OnScores,
    RandomSelector,
    SeededFeatureSelector,
    TopScoreSelector,
)
from gip_exp.data import split
from gip_exp.errors import UserError
from gip_exp.signals.table import SOURCE_STAGE, scores_of
from gip_exp.stage import Entries, Job, Stage
from gip_exp.stages.data import read_pool
from gip_exp.stages.embed import FEATURES, text_of
from gip_exp.stages.gradients import influence_scores

if TYPE_CHECKING:
    from selection import Selection  # and torch with it

RANKING = "ranking.parquet"


@dataclass(frozen=True)
class Candidates:
    """What a selector sees of the pool: n rows, and how many to rank."""

    n: int
    rank_to: int
    features: np.ndarray | None  # (n, d) float32
    scores: np.ndarray | None  # (n, k) float64, NaN in unscored rows
    scored: np.ndarray | None  # (n,) bool, rows that may be picked; None means all
    texts: Callable[[], tuple[list[str], list[str]]]  # of the pool and of the target rows, read on demand
    influence: Callable[[], np.ndarray]  # (n,) LESS's scores, computed on demand


def _inputs(config: Config) -> tuple[str, ...]:
    needs = ["data"]
    if isinstance(config.selector, OnScores):
        needs.append(SOURCE_STAGE[config.selector.signal])
    if config.selector.kind in ON_FEATURES:
        needs.append("embed")
    if config.selector.kind == "less":
        needs += ["warmup", "gradients"]
    return tuple(needs)


def _keyed(config: Config) -> tuple[str, ...]:
    """The table of self-compression is made for people to see; GIP works on the embeddings themselves."""
    return tuple(name for name in _inputs(config) if name != SOURCE_STAGE["self_compression"])


def _rank_to(config: Config, n_pool: int, n_selected: int) -> int:
    """A ranking nested in budget is shared by a class of budgets; any other is made for its own budget."""
    return split.rank_to(n_selected, n_pool) if config.selector.kind not in NOT_NESTED else n_selected


def sizes(config: Config, entries: Entries) -> tuple[int, int]:
    """(rows in the pool, rows selected). Raises UserError for a budget beyond the pool, or a target that is empty."""
    n_rows = int(entries["data"].facts["n_rows"])
    n_pool = len(split.split(n_rows, config.target).pool)
    if config.selector.kind in AT_TARGET and n_pool == n_rows:
        raise UserError(
            f"selector={config.selector.name} aims at held-out rows, and none of {n_rows} is held out: at most "
            f"target.max_share={config.target.max_share} of the rows are (raise it), or give more rows"
        )
    return n_pool, split.count(config.budget, n_pool)


def _settings(config: Config, entries: Entries) -> dict[str, Any]:
    n_pool, n_selected = sizes(config, entries)
    return {
        "selector": content(config.selector),
        "target": content(config.target),
        "rank_to": _rank_to(config, n_pool, n_selected),
    }


def _build(job: Job) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    examples = read_pool(job.inputs)
    rows = split.split(len(examples), job.config.target).pool
    candidates = _candidates(job, rows)
    selection = RANKERS[job.config.selector.kind](job.config.selector, candidates)
    picked = rows[selection.indices]
    table = {"row": picked, "id": [examples[row]["id"] for row in picked], "gain": selection.gains}
    pq.write_table(pa.table(table), job.folder / RANKING)
    unscored = 0 if candidates.scored is None else int((~candidates.scored).sum())
    job.draft.facts.update(
        n_pool=len(rows),
        n_unscored=unscored,
        rank_to=candidates.rank_to,
        rounds=len(selection.rounds),
    )


def _candidates(job: Job, rows: np.ndarray) -> Candidates:
    _, n_selected = sizes(job.config, job.inputs)
    scores = scored = features = None
    selector = job.config.selector
    if isinstance(selector, OnScores) and selector.signal != "self_compression":
        ids = [example["id"] for example in read_pool(job.inputs)]
        scores = scores_of(job.inputs, SOURCE_STAGE[selector.signal], ids)[rows]
        known = ~np.isnan(scores).any(axis=1)
        scored = None if known.all() else known
        if n_selected > known.sum():
            raise UserError(
                f"budget={job.config.budget} asks for {n_selected} rows, but only {known.sum()} of {len(rows)} were "
                "scored: lower the budget, or get more rows scored (judge.round asks for the unscored ones again)"
            )
    if "embed" in job.inputs:
        features = np.load(job.inputs["embed"].folder / FEATURES, mmap_mode="r")[rows]
    to = _rank_to(job.config, len(rows), n_selected)
    if scored is not None:
        to = min(to, int(scored.sum()))
    return Candidates(
        len(rows),
        to,
        features,
        scores,
        scored,
        partial(_texts, job, rows),
        partial(influence_scores, job.inputs),
    )


def _texts(job: Job, rows: np.ndarray) -> tuple[list[str], list[str]]:
    """(texts of the pool, texts of the held-out target rows)."""
    examples = read_pool(job.inputs)
    target = split.split(len(examples), job.config.target).target
    return [text_of(examples[row]) for row in rows], [text_of(examples[row]) for row in target]


def _gip(selector: GipSelector, candidates: Candidates) -> "Selection":
    from selection import gip_select

    assert candidates.features is not None
    scores = candidates.scores
    if scores is not None and candidates.scored is not None:
        scores = np.where(candidates.scored[:, None], scores, 0.0)  # never read: these rows are no candidates
    return gip_select(
        candidates.features,
        candidates.rank_to,
        scores=scores,
        candidates=candidates.scored,
        method=selector.method,
        ridge=selector.ridge,
        center=selector.center,
        normalize=selector.normalize,
        score_scaling=selector.score_scaling,
        tol=selector.tol,
        noise=selector.noise,
    )


def _random(selector: RandomSelector, candidates: Candidates) -> "Selection":
    from baselines import random

    return random.select(candidates.n, candidates.rank_to, seed=selector.seed)


def _full(_: FullSelector, candidates: Candidates) -> "Selection":
    from baselines import full

    return full.select(candidates.n)


def _to_rank_by(selector: OnScores, scores: np.ndarray | None) -> np.ndarray | None:
    """Rules that rank by the mean scale every column alike: a mixture, which has weights, becomes one column."""
    return scores.sum(axis=1) if selector.signal == "mixture" and scores is not None else scores


def _top_score(selector: TopScoreSelector, candidates: Candidates) -> "Selection":
    from baselines import top_score

    scores = _to_rank_by(selector, candidates.scores)
    return top_score.select(scores, candidates.rank_to, candidates=candidates.scored)


def _gate_random(selector: GateRandomSelector, candidates: Candidates) -> "Selection":
    from baselines import gate_random

    return gate_random.select(
        _to_rank_by(selector, candidates.scores),
        candidates.rank_to,
        seed=selector.seed,
        gate=selector.gate,
        candidates=candidates.scored,
    )


def _dsir(selector: DsirSelector, candidates: Candidates) -> "Selection":
    from baselines import dsir

    pool_texts, target_texts = candidates.texts()
    return dsir.select(
        pool_texts,
        target_texts,
        candidates.rank_to,
        seed=selector.seed,
        ngrams=selector.ngrams,
        buckets=selector.buckets,
        laplace=selector.laplace,
    )


def _disf(selector: DisfSelector, candidates: Candidates) -> "Selection":
    from baselines import disf

    return disf.select(
        candidates.features, candidates.rank_to, batch_size=selector.batch_size, seed=selector.seed
    )


def _seeded(selector: SeededFeatureSelector, candidates: Candidates) -> "Selection":
    from baselines import k_center, k_means

    method = {"k_center": k_center.select, "k_means": k_means.select}[selector.kind]
    return method(candidates.features, candidates.rank_to, seed=selector.seed)


def _facility_location(_: FacilityLocationSelector, candidates: Candidates) -> "Selection":
    from baselines import facility_location

    return facility_location.select(candidates.features, candidates.rank_to)


def _dpp(selector: DppSelector, candidates: Candidates) -> "Selection":
    from baselines import dpp

    return dpp.select(candidates.features, candidates.rank_to, ridge=selector.ridge)


def _less(_: LessSelector, candidates: Candidates) -> "Selection":
    from baselines.less import select

    return select(candidates.influence(), candidates.rank_to)


RANKERS: dict[str, Callable[[Any, Candidates], "Selection"]] = {
    "gip": _gip,
    "random": _random,
    "full": _full,
    "top_score": _top_score,
    "gate_random": _gate_random,
    "dsir": _dsir,
    "disf": _disf,
    "k_center": _seeded,
    "k_means": _seeded,
    "facility_location": _facility_location,
    "dpp": _dpp,
    "less": _less,
}
ON_FEATURES = {"gip", "disf", "k_center", "k_means", "facility_location", "dpp"}
NOT_NESTED = {"k_means"}
AT_TARGET = {"dsir", "less"}  # these aim at the held-out rows


def _missing(config: Config) -> list[str]:
    if config.selector.kind not in AT_TARGET or config.target.n:
        return []
    return [
        f"target.n=0 holds out no rows, and selector={config.selector.name} aims at them: set target.n=128, also for "
        "the selectors that it is compared with"
    ]


STAGE = Stage("rank", 2, _inputs, _settings, _build, _missing, keyed=_keyed)
