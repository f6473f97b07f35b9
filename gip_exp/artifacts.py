"""File names and readers of the stage outputs that other stages use, so that stages do not import each other."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, overload

import numpy as np

from gip_exp.config import Config
from gip_exp.config.selector import RankingSelector
from gip_exp.data import split
from gip_exp.data.rows import Example
from gip_exp.errors import UserError
from gip_exp.registry import selectors
from gip_exp.runs.folder import SELECTED
from gip_exp.runs.records import DataFacts, RankFacts, SelectFacts
from gip_exp.stage import Entries
from gip_exp.storage.files import read_jsonl
from gip_exp.storage.row_table import RowTable, read_table

# data
POOL, TEST, LABELS = "pool.arrow", "test.jsonl", "labels.jsonl"
ORIGINS = "origins.arrow"  # source of each pool row, in pool order
ROWS = "rows.arrow"  # the original rows of the pool as JSON, in pool order
LEFT_OUT = "left_out.jsonl"  # rows excluded from the pool, with the reason
METADATA_STAGE = "data/metadata"  # exists if data.metadata names columns
METADATA, CATEGORIES = "metadata.parquet", "categories.jsonl"  # its numeric and its text columns
# contamination, embed
MATCHES = "matches.jsonl"
FEATURES = "features.npy"
ROW_LOSSES = "losses.npy"  # of score/losses
# warmup
CHECKPOINTS, WEIGHTS = "checkpoints", "weights.json"
UNUSABLE = "unusable.json"  # indices of rows without a training signal
# rank, train
RANKING = "ranking.parquet"
ADAPTER, LOSSES = "adapter", "losses.jsonl"


def read_pool(entries: Entries) -> RowTable:
    """Map all training rows into memory, in file order."""
    return read_table(entries["data"].folder / POOL)


def read_test(entries: Entries) -> list[Example]:
    """Read the test rows, in file order; empty if there are none."""
    return read_jsonl(entries["data"].folder / TEST)


def read_origins(entries: Entries) -> RowTable | None:
    """Map the source of each pool row into memory, in pool order; None for a generated pool."""
    path = entries["data"].folder / ORIGINS
    return read_table(path) if path.is_file() else None


def row_name(example: Mapping[str, Any]) -> str:
    """Describe a row in the user's terms: its place or number in the source, and its own id if it has one."""
    if "row" not in example:
        return str(example["id"])
    place = example.get("place", f"row {example['row']} of {example['source']}")
    own = example.get("own_id")
    return f"{place} (id {own})" if own is not None else place


def text_of(example: Mapping[str, str]) -> str:
    """Return the text that embedders and DSIR read: prompt, newline, completion."""
    return f"{example['prompt']}\n{example['completion']}"


class Texts(Sequence[str]):
    """The texts (`text_of`) of rows, made when they are looked at."""

    def __init__(self, rows: RowTable) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> "Texts": ...
    def __getitem__(self, at: int | slice) -> "str | Texts":
        return Texts(self._rows[at]) if isinstance(at, slice) else text_of(self._rows[at])

    def __iter__(self) -> Iterator[str]:
        return map(text_of, self._rows)


def read_features(entries: Entries) -> np.ndarray:
    """Read the embeddings of all training rows: (n, d) float32, memory-mapped."""
    return np.load(entries["embed"].folder / FEATURES, mmap_mode="r")


def fills_memory(features: Path) -> bool:
    """Return whether a file of embeddings takes half of this machine's memory or more."""
    return 2 * features.stat().st_size >= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def read_selected(entries: Entries) -> list[dict[str, Any]]:
    """Read the selected examples in pick order, with rank, gain and source."""
    return read_jsonl(entries["select"].folder / SELECTED)


def data_facts(entries: Entries) -> DataFacts:
    """Return the facts recorded by `data`."""
    return cast(DataFacts, entries["data"].facts)


def rank_facts(entries: Entries) -> RankFacts:
    """Return the facts recorded by `rank`."""
    return cast(RankFacts, entries["rank"].facts)


def select_facts(entries: Entries) -> SelectFacts:
    """Return the facts recorded by `select`."""
    return cast(SelectFacts, entries["select"].facts)


def read_usable(entries: Entries) -> np.ndarray:
    """Return a mask (n,) of the training rows that have a training signal for LESS."""
    usable = np.ones(data_facts(entries)["n_rows"], dtype=bool)
    usable[json.loads((entries["warmup"].folder / UNUSABLE).read_text(encoding="utf-8"))] = False
    return usable


def selector_of(config: Config) -> selectors.Selector:
    """Return the registry entry of the configured selector."""
    if isinstance(config.selector, RankingSelector):
        return selectors.Selector("ranking", "", frozenset(), {})
    return selectors.find(config.selector.kind)


def sizes(config: Config, entries: Entries) -> tuple[int, int]:
    """Return (rows in the pool, rows to select); with `budget_unit=tokens` the most there can be, the whole pool.

    Raises:
        UserError: the budget exceeds the pool or is below the rounds, or the selector needs target rows and none are held out.
    """
    n_rows = data_facts(entries)["n_rows"]
    n_pool = len(split.split(n_rows, config.target).pool)
    if selector_of(config).at_target and n_pool == n_rows:
        raise UserError(
            f"selector={config.selector.name} needs held-out target rows, but none of the {n_rows} rows is held out: "
            f"at most target.max_share={config.target.max_share} of them may be. Raise it, or give more rows"
        )
    n_selected = n_pool if config.budget_unit == "tokens" else split.count(config.budget, n_pool)
    if n_selected < config.rounds:
        raise UserError(
            f"rounds={config.rounds} needs a row for each round, but budget={config.budget} of {n_pool} rows is {n_selected}: "
            "raise it, or lower rounds"
        )
    return n_pool, n_selected
