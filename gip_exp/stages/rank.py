"""`rank`: the selector ranks the pool, best first, as far as the budget class needs (budgets share a ranking).

Writes `ranking.parquet`: row (index in the data), id and gain, in pick order. `gip_exp.registry.selectors` finds the
selector's function; this stage fills its parameters.
"""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gip_exp.artifacts import (
    METADATA_STAGE,
    RANKING,
    selector_of,
    sizes,
)
from gip_exp.config import Config
from gip_exp.config.base import content
from gip_exp.config.selector import (
    GipSelector,
    OnScores,
    RankingSelector,
    SelectorSection,
    subtask_column,
)
from gip_exp.data import ranking_file, split
from gip_exp.errors import UserError
from gip_exp.gip_processes import select_in_processes
from gip_exp.models.machine import missing_for_processes
from gip_exp.registry import selectors
from gip_exp.registry.picks import pick
from gip_exp.reselection import named, rescored, share
from gip_exp.runs.records import RankFacts
from gip_exp.runs.slurm import node_count
from gip_exp.selector_inputs import SelectorInputs, tuned_column
from gip_exp.signals.table import SOURCE_STAGE
from gip_exp.stage import Entries, Job, Stage

if TYPE_CHECKING:
    from selection import Selection  # and torch with it

# Stages that provide a parameter of selectors.
_STAGES = {
    "features": ("embed",),
    "losses": ("score/losses",),
    "gradients": ("warmup", "gradients"),
}


def _inputs(config: Config) -> tuple[str, ...]:
    needs = ["data"]
    if isinstance(config.selector, OnScores):
        needs.append(SOURCE_STAGE[config.selector.signal])
    reads = selector_of(config).reads
    needs += [stage for name, stages in _STAGES.items() if name in reads for stage in stages]
    if subtask_column(config.selector) is not None:
        needs.append(METADATA_STAGE)
    return tuple(needs)


def _keyed(config: Config) -> tuple[str, ...]:
    """Return the inputs without the table of self-compression, which is only shown: GIP uses the embeddings."""
    return tuple(name for name in _inputs(config) if name != SOURCE_STAGE["self_compression"])


def _rank_to(config: Config, n_pool: int, n_selected: int) -> int:
    """Return the number of rows to rank: a nested ranking is shared by a class of budgets."""
    return split.rank_to(n_selected, n_pool) if selector_of(config).nested else n_selected


def source(config: Config) -> dict[str, str]:
    """Return the digest of a ranking file, or the version of an installed selector's package; else empty."""
    if isinstance(config.selector, RankingSelector):
        return {"file": ranking_file.digest(Path(config.selector.path))}
    package = selector_of(config).package
    return {"package": package} if package else {}


def _settings(config: Config, entries: Entries) -> dict[str, Any]:
    n_pool, n_selected = sizes(config, entries)
    return {
        "selector": content(config.selector),
        **source(config),
        "target": content(config.target),
        "rank_to": _rank_to(config, n_pool, n_selected),
        **_distortion(config),
    }


def _distortion(config: Config) -> dict[str, Any]:
    """Return the distortion, as far as the selector reads what is distorted."""
    how, reads = config.distort, selector_of(config).reads
    parts = {"embeddings": "features", "scores": "scores"}
    found = {
        part: (getattr(how, part), getattr(how, f"{part}_level"), how.seed)
        for part, read in parts.items()
        if getattr(how, part) != "none"
        and (read in reads or (read == "features" and "target_features" in reads))
    }
    return {"distort": found} if found else {}


def _build(job: Job) -> None:
    pool = SelectorInputs(job)
    n_pool, n_selected = sizes(job.config, job.inputs)
    candidates = pool.candidates
    by_rows = job.config.budget_unit == "rows"
    if by_rows and candidates is not None and n_selected > candidates.sum():
        more = (
            "raise selector.warmup.max_length"
            if "gradients" in selector_of(job.config).reads
            else "raise selector.max_length"
            if "losses" in selector_of(job.config).reads
            else "increase judge.round to ask for the unscored rows again"
        )
        raise UserError(
            f"budget={job.config.budget} needs {n_selected} rows, but only {candidates.sum()} of {n_pool} were scored: "
            f"lower the budget, or {more}"
        )
    rank_to = _rank_to(job.config, n_pool, n_selected)
    rank_to = rank_to if candidates is None else min(rank_to, int(candidates.sum()))
    if isinstance(job.config.selector, RankingSelector):
        selection = _from_file(job, pool, rank_to, n_selected)
    elif isinstance(job.config.selector, GipSelector) and job.config.selector.processes > 1:
        selection = select_in_processes(
            job,
            job.config.selector,
            rows=pool.rows,
            scores=pool.scores,
            candidates=pool.candidates,
            budget=rank_to,
        )
    else:
        needed = n_selected if by_rows else 1  # a budget in tokens is as many rows as hold them
        selection = _by_function(job.config.selector, selector_of(job.config), pool, rank_to, needed)
    _write(job, pool, pool.rows[selection.indices], selection.gains)
    facts = RankFacts(
        n_pool=n_pool,
        n_unscored=0 if candidates is None else int((~candidates).sum()),
        rank_to=rank_to,
        rounds=len(selection.rounds),
    )
    job.draft.facts.update(facts)


def _write(job: Job, pool: SelectorInputs, rows: np.ndarray, gains: np.ndarray) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = {"row": rows, "id": [pool.ids[row] for row in rows], "gain": gains}
    pq.write_table(pa.table(table), job.folder / RANKING)


def _build_again(number: int, job: Job) -> None:
    """Write what earlier rounds selected, and after it the rows that this round adds, by scores and the tuned model."""
    import pyarrow.parquet as pq

    last, n_selected = job.config.rounds, sizes(job.config, job.inputs)[1]
    before = share(n_selected, number - 1, last)
    earlier = pq.read_table(job.inputs[named("rank", number - 1, last)].folder / RANKING).slice(0, before)
    taken = earlier["row"].to_numpy()
    column = tuned_column(job.inputs[rescored(number - 1)], job.config.rescore)
    pool = SelectorInputs(job, taken=taken, column=column)
    wanted, free = share(n_selected, number, last) - before, pool.candidates
    assert free is not None
    if free.sum() < wanted:
        raise UserError(
            f"budget={job.config.budget} needs {wanted} more rows in round {number}, but only {int(free.sum())} rows of the pool "
            "have all scores and a loss under the tuned model: lower the budget, or raise train.max_length"
        )
    selection = _by_function(job.config.selector, selector_of(job.config), pool, wanted, wanted)
    rows = np.concatenate([taken, pool.rows[selection.indices]])
    _write(job, pool, rows, np.concatenate([earlier["gain"].to_numpy(), selection.gains]))
    unscored = len(pool.rows) - int(free.sum()) - before
    job.draft.facts.update(
        RankFacts(n_pool=pool.n, n_unscored=unscored, rank_to=len(rows), rounds=len(selection.rounds))
    )


def in_round(number: int, last: int) -> Stage:
    """Return the stage of one round of a re-selection (`gip_exp.reselection`)."""
    name = named("rank", number, last)
    if number == 1:
        return replace(STAGE, name=name)
    added = (named("rank", number - 1, last), rescored(number - 1))

    def settings(config: Config, entries: Entries) -> dict[str, Any]:
        counts = [share(sizes(config, entries)[1], reached, last) for reached in (number - 1, number)]
        return {**_settings(config, entries), "rank_to": counts, "rescore": config.rescore}

    return replace(
        STAGE,
        name=name,
        inputs=lambda config: (*_inputs(config), *added),
        keyed=lambda config: (*_keyed(config), *added),
        settings=settings,
        build=partial(_build_again, number),
    )


def _by_function(
    config: SelectorSection, selector: selectors.Selector, pool: SelectorInputs, rank_to: int, needed: int
) -> "Selection":
    """Call the selector's function with the parameters it reads and its options; it ranks at least `needed` rows."""
    if pool.candidates is not None and "candidates" not in selector.reads:
        raise UserError(
            f"selector={config.name}: {int((~pool.candidates).sum())} of {pool.n} rows are unscored, but this selector "
            "cannot leave rows out: increase judge.round to ask again, or choose a selector that takes `candidates`"
        )
    given = {name: getattr(pool, name) for name in selector.reads} | selector.options_of(config)
    return pick(
        selector, config.name, given, n=pool.n, budget=rank_to, needed=needed, candidates=pool.candidates
    )


def _from_file(job: Job, pool: SelectorInputs, rank_to: int, n_selected: int) -> "Selection":
    """Return the first `rank_to` rows of a ranking file that are in the pool; note how many are held out."""
    from selection.types import Selection

    assert isinstance(job.config.selector, RankingSelector)
    path = Path(job.config.selector.path)
    ranked = ranking_file.read(path, pool.ids)
    position = {int(row): place for place, row in enumerate(pool.rows)}
    kept = [position[row] for row in ranked if row in position]
    if held_out := len(ranked) - len(kept):
        job.note(f"{path}: {held_out} of its {len(ranked)} rows are held out as the target and left out")
    if len(kept) < n_selected and job.config.budget_unit == "rows":
        raise UserError(
            f"selector.path={path} ranks {len(kept)} rows of the pool, but budget={job.config.budget} needs {n_selected}: "
            "lower the budget, or give a longer ranking"
        )
    kept = kept[:rank_to]
    return Selection(np.array(kept, dtype=np.int64), np.zeros(len(kept)))


def _missing(config: Config) -> list[str]:
    if isinstance(config.selector, RankingSelector) and not Path(config.selector.path).is_file():
        return [
            f"selector.path={config.selector.path} is not a file: give a ranking (parquet, JSONL or .npy), best first"
        ]
    if isinstance(config.selector, GipSelector) and config.selector.processes > 1:
        return missing_for_processes(
            "selector.processes", config.selector.processes, config, nodes=node_count(os.environ)
        )
    if not selector_of(config).at_target or config.target.n:
        return []
    return [
        f"target.n=0 holds out no rows, but selector={config.selector.name} needs target rows: set target.n=128, also for "
        "the selectors it is compared with"
    ]


def _code(config: Config) -> tuple[str, ...]:
    function = selector_of(config).function
    return (function,) if function else ()


def _needs_device(config: Config) -> bool:
    """Return whether several processes need the GPUs for their shards; one process computes on the CPU."""
    return isinstance(config.selector, GipSelector) and config.selector.processes > 1


STAGE = Stage(
    "rank", _inputs, _settings, _build, _missing, keyed=_keyed, needs_device=_needs_device, code=_code
)
