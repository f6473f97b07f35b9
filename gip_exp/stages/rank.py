"""`rank`: the selector ranks the pool, best first, as far as the budget class needs (budgets share a ranking).

Writes `ranking.parquet`: row (index in the data), id and gain, in pick order. `gip_exp.registry.selectors` finds the
selector's function; this stage fills its parameters.
"""

import json
import os
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gip_exp.artifacts import (
    CATEGORIES,
    FEATURES,
    METADATA,
    METADATA_STAGE,
    RANKING,
    ROW_LOSSES,
    WEIGHTS,
    Texts,
    fills_memory,
    read_features,
    read_pool,
    read_usable,
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
from gip_exp.runs.records import RankFacts
from gip_exp.runs.slurm import node_count
from gip_exp.signals.table import SOURCE_STAGE, informative, labels_of, scores_of
from gip_exp.stage import Entries, Job, Stage
from gip_exp.training.checkpoints import numbered
from gip_exp.words import is_unspaced

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
    }


def _build(job: Job) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pool = _Pool(job)
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
        selection = _by_function(job.config.selector, selector_of(job.config), pool, rank_to)
    picked = pool.rows[selection.indices]
    table = {"row": picked, "id": [pool.ids[row] for row in picked], "gain": selection.gains}
    pq.write_table(pa.table(table), job.folder / RANKING)
    facts = RankFacts(
        n_pool=n_pool,
        n_unscored=0 if candidates is None else int((~candidates).sum()),
        rank_to=rank_to,
        rounds=len(selection.rounds),
    )
    job.draft.facts.update(facts)


class _Pool:
    """The parameters of selectors (`selectors.READS`) as attributes, read on access."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._examples = read_pool(job.inputs)
        parts = split.split(len(self._examples), job.config.target)
        self.rows, self._target = parts.pool, parts.target  # indices in the data
        self.ids = self._examples.ids

    @property
    def n(self) -> int:
        return len(self.rows)

    @property
    def features(self) -> np.ndarray:
        features = read_features(self._job.inputs)
        return features if self.n == len(features) else features[self.rows]  # mapped, or a copy

    @property
    def scratch(self) -> Path | None:
        path = self._job.inputs["embed"].folder / FEATURES
        if not fills_memory(path):
            return None
        self._job.note(
            f"the embeddings ({path.stat().st_size / 1e9:.0f} GB) take half of this machine's memory or more: the selector "
            "reads them from disk, which is slower"
        )
        folder = self._job.draft.scratch("pool")
        folder.mkdir(exist_ok=True)
        return folder

    @cached_property
    def _signal(self) -> np.ndarray | None:
        selector = self._job.config.selector
        if not isinstance(selector, OnScores) or selector.signal == "self_compression":
            return None
        return scores_of(self._job.inputs, SOURCE_STAGE[selector.signal], self.ids)[self.rows]

    @property
    def scores(self) -> np.ndarray | None:
        """(n, k); for a mixture and any selector except GIP the sum (n,), because others rescale columns."""
        if self._signal is None:
            return None
        scores = np.nan_to_num(self._signal, nan=0.0)  # unscored rows are not candidates
        selector = self._job.config.selector
        return scores.sum(axis=1) if selector.signal == "mixture" and selector.kind != "gip" else scores

    @property
    def losses(self) -> np.ndarray:
        return np.load(self._job.inputs["score/losses"].folder / ROW_LOSSES)[self.rows]

    @property
    def score_names(self) -> tuple[str, ...]:
        selector = self._job.config.selector
        assert isinstance(selector, OnScores)
        return informative(self._job.inputs[SOURCE_STAGE[selector.signal]]).names

    @property
    def completions(self) -> list[str]:
        return [row["completion"] for row in self._examples.take(self.rows)]

    @property
    def candidates(self) -> np.ndarray | None:
        """(n,) bool, the rows with all scores, or with gradients; None if that is all rows."""
        if "warmup" in self._job.inputs:
            scored = read_usable(self._job.inputs)[self.rows]
        elif "score/losses" in self._job.inputs:
            scored = ~np.isnan(self.losses).any(axis=1)
        elif self._signal is not None:
            scored = ~np.isnan(self._signal).any(axis=1)
        else:
            return None
        return None if scored.all() else scored

    @property
    def texts(self) -> list[str]:
        texts = list(Texts(self._examples.take(self.rows)))
        unspaced = sum(map(is_unspaced, texts)) if self._job.config.selector.kind == "dsir" else 0
        if unspaced:
            self._job.note(
                f"{unspaced:,} of {self.n:,} rows are in scripts without spaces, where the words of DSIR (as defined by its "
                "authors) are whole sentences, so its weights mean little; mp_sc and k_center use embeddings instead"
            )
        return texts

    @property
    def target_texts(self) -> list[str]:
        return list(Texts(self._examples.take(self._target)))

    @property
    def target_features(self) -> np.ndarray:
        return read_features(self._job.inputs)[self._target]

    @property
    def target_labels(self) -> list[str] | None:
        column = subtask_column(self._job.config.selector)
        if column is None:
            return None
        target = self._target
        if "warmup" in self._job.inputs:  # LESS has gradients of these rows alone
            target = target[read_usable(self._job.inputs)[target]]
        folder = self._job.inputs[METADATA_STAGE].folder
        labels = labels_of(
            column, [self.ids[row] for row in target], texts=folder / CATEGORIES, numbers=folder / METADATA
        )
        if empty := sum(label is None for label in labels):
            self._job.note(
                f"{empty:,} of {len(labels):,} target rows have no value in the column {column!r}: they are a subtask of "
                "their own"
            )
        counts = Counter("" if label is None else label for label in labels)
        self._job.draft.facts["subtasks"] = dict(counts.most_common())
        return ["" if label is None else label for label in labels]

    @property
    def note(self) -> Callable[[str], None]:
        return self._job.note

    @property
    def gradients(self) -> list[Path]:
        return numbered(self._job.inputs["gradients"].folder)

    @property
    def checkpoint_weights(self) -> list[float]:
        return json.loads((self._job.inputs["warmup"].folder / WEIGHTS).read_text())


def _by_function(
    config: SelectorSection, selector: selectors.Selector, pool: _Pool, rank_to: int
) -> "Selection":
    """Call the selector's function with the parameters it reads and its options."""
    if pool.candidates is not None and "candidates" not in selector.reads:
        raise UserError(
            f"selector={config.name}: {int((~pool.candidates).sum())} of {pool.n} rows are unscored, but this selector "
            "cannot leave rows out: increase judge.round to ask again, or choose a selector that takes `candidates`"
        )
    given = {name: getattr(pool, name) for name in selector.reads}
    return selector.load()(**given, budget=rank_to, **selector.options_of(config))


def _from_file(job: Job, pool: _Pool, rank_to: int, n_selected: int) -> "Selection":
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
