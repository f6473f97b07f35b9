"""The outputs of stages that the selection report reads, in one place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from gip_exp.artifacts import (
    CATEGORIES,
    LEFT_OUT,
    METADATA,
    METADATA_STAGE,
    RANKING,
    Texts,
    read_features,
    read_origins,
    read_pool,
    row_name,
    select_facts,
)
from gip_exp.data import split
from gip_exp.errors import UserError
from gip_exp.models.embedders import tfidf
from gip_exp.selection_report.geometry import sample
from gip_exp.signals.table import SOURCE_STAGE, read_table
from gip_exp.stage import Job
from gip_exp.storage.files import read_jsonl
from gip_exp.storage.row_table import RowTable
from selection.signals import SignalTable, read_signals

# Without embeddings of the run, this many rows of a larger pool are described, and as many of the ranking.
SAMPLED = 10_000


@dataclass(frozen=True)
class Material:
    """A selection and what is known of its pool. Rows are row numbers in the data.

    Attributes:
        rows: All n training rows.
        origins: Their sources; None for a generated pool.
        pool: (p,) the rows that could be selected, ascending.
        order: (r,) the ranked rows, best first; a ranking may be longer than the selection.
        gains: (r,) what each added, by the measure of the selector.
        n_selected: The first rows of `order` that are selected.
        scores: Per attribute (n,) values, NaN if unscored.
        signal: The names of the scores that the run made or used; the others are numeric metadata.
        categories: Per text column n values or None.
        described: (m,) rows with embeddings, ascending: the pool, or a part of it.
        features: (m, d) their embeddings.
        drawn: (s,) positions in `described` of an unbiased sample of the pool; all if the pool is described.
        embedder: Name of the embedder.
        by_features: Whether the selector reads embeddings; else they were made for the report alone.
        left_out: Rows that did not enter the pool, with the reason.
    """

    rows: RowTable
    origins: RowTable | None
    pool: np.ndarray
    order: np.ndarray
    gains: np.ndarray
    n_selected: int
    scores: Mapping[str, np.ndarray]
    signal: frozenset[str]
    categories: Mapping[str, Sequence[str | None]]
    described: np.ndarray
    features: np.ndarray
    drawn: np.ndarray
    embedder: str
    by_features: bool
    left_out: Sequence[Mapping[str, Any]]

    @property
    def selected(self) -> np.ndarray:
        """(b,) the selected rows, best first."""
        return self.order[: self.n_selected]

    @property
    def complete(self) -> bool:
        """Whether every row of the pool is described."""
        return len(self.described) == len(self.pool)

    @cached_property
    def telling(self) -> Mapping[str, np.ndarray]:
        """The scores that differ between rows of the pool."""
        return {name: values for name, values in self.scores.items() if np.nanstd(values[self.pool]) > 0}

    @cached_property
    def unscored(self) -> np.ndarray:
        """(n,) whether a row lacks one of the scores that the run made or used."""
        missing = np.zeros(len(self.rows), dtype=bool)
        for name in self.signal:
            missing |= np.isnan(self.scores[name])
        return missing

    @cached_property
    def position(self) -> np.ndarray:
        """(n,) position of each row in `described`, -1 if it is not there."""
        position = np.full(len(self.rows), -1)
        position[self.described] = np.arange(len(self.described))
        return position

    @cached_property
    def ranked(self) -> np.ndarray:
        """Positions in `described` of the first ranked rows, without a gap; all of them if the pool is described."""
        places = self.position[self.order]
        return places if (places >= 0).all() else places[: int((places < 0).argmax())]

    def name(self, row: int) -> str:
        """Describe a row in the user's terms."""
        return row_name(self.origins[row] if self.origins is not None else self.rows[row])


def load(job: Job) -> Material:
    """Read the outputs of the earlier stages, and embed rows if the run did not."""
    config, entries = job.config, job.inputs
    rows = read_pool(entries)
    pool = np.asarray(split.split(len(rows), config.target).pool)
    ranking = pq.read_table(entries["rank"].folder / RANKING)
    order = ranking["row"].to_numpy()
    described, features, drawn, embedder = _embeddings(job, rows, pool, order)
    left_out = entries["data"].folder / LEFT_OUT
    signal = _signal_tables(job)
    return Material(
        rows=rows,
        origins=read_origins(entries),
        pool=pool,
        order=order,
        gains=ranking["gain"].to_numpy(),
        n_selected=select_facts(entries)["n_selected"],
        scores=_scores([*signal, *_numeric_metadata(job)], rows.ids),
        signal=frozenset(name for table in signal for name in table.names),
        categories=_categories(job, rows.ids),
        described=described,
        features=features,
        drawn=drawn,
        embedder=embedder,
        by_features="embed" in job.inputs,
        left_out=read_jsonl(left_out) if left_out.is_file() else [],
    )


def _embeddings(
    job: Job, rows: RowTable, pool: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Return (described rows, features, unbiased sample of positions, name of the embedder)."""
    if "embed" in job.inputs:
        features = read_features(job.inputs)
        name = job.config.embedder_used.name
        return pool, features if len(pool) == len(features) else features[pool], np.arange(len(pool)), name
    drawn = pool[sample(len(pool), SAMPLED)]
    described = pool if len(pool) <= 2 * SAMPLED else np.union1d(drawn, order[:SAMPLED])
    everywhere = np.arange(len(pool)) if len(described) == len(pool) else np.searchsorted(described, drawn)
    return described, _quick_embeddings(list(Texts(rows.take(described)))), everywhere, "tfidf"


def _quick_embeddings(texts: list[str]) -> np.ndarray:
    """Embed texts for the report alone; zeros for texts that have no words to compare them by."""
    try:
        return tfidf.embed(
            texts,
            note=lambda _: None,
            facts={},
            advance=lambda _: None,
            dimensions=128,
            ngrams=1,
            min_count=2,
            max_ngrams=16_384,
            fit_rows=5_000,
        )
    except UserError:
        return np.zeros((len(texts), 1), dtype=np.float32)


def _signal_tables(job: Job) -> list[SignalTable]:
    """Return the signal tables that the run has; a mixture only repeats the columns of its sources.

    Metadata columns are as the user knows them: the signal of them may be negated and shifted.
    """
    made = {source: stage for source, stage in SOURCE_STAGE.items() if stage in job.inputs}
    tables = [
        read_table(job.inputs[made[source]]) for source in made if source not in ("mixture", "metadata")
    ]
    return [*tables, *(_numeric_metadata(job) if "metadata" in made else ())]


def _numeric_metadata(job: Job) -> list[SignalTable]:
    if METADATA_STAGE not in job.inputs:
        return []
    path = job.inputs[METADATA_STAGE].folder / METADATA
    return [read_signals(path)] if path.is_file() else []


def _scores(tables: Sequence[SignalTable], ids: list[str]) -> dict[str, np.ndarray]:
    """Return the columns of all tables; of columns with one name the first."""
    found: dict[str, np.ndarray] = {}
    for table in tables:
        values = table.aligned(ids).values
        found |= {name: values[:, at] for at, name in enumerate(table.names) if name not in found}
    return found


def _categories(job: Job, ids: list[str]) -> dict[str, list[str | None]]:
    if METADATA_STAGE not in job.inputs:
        return {}
    path = job.inputs[METADATA_STAGE].folder / CATEGORIES
    rows = {row["id"]: row for row in read_jsonl(path)} if path.is_file() else {}
    columns = job.inputs[METADATA_STAGE].facts["categories"] if rows else []
    return {column: [rows[name][column] for name in ids] for column in columns}
