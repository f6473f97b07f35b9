"""Names and readers of stage outputs: what one stage leaves for another, so that stages do not import each other."""

import json
from collections.abc import Mapping
from typing import Any, cast

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

POOL, TEST, LABELS = "pool.jsonl", "test.jsonl", "labels.jsonl"  # of `data`
ORIGINS = "origins.jsonl"  # of `data`: where the pool's rows came from, in the same order
ROWS = "rows.jsonl"  # of `data`: the pool's rows as they were, in the same order
METADATA_STAGE = "data/metadata"  # there where columns are named in data.metadata
METADATA, CATEGORIES = "metadata.parquet", "categories.jsonl"  # its columns of numbers and of texts
LEFT_OUT = "left_out.jsonl"  # of `data`: rows that are not in the pool, and why
MATCHES = "matches.jsonl"  # of `contamination`
FEATURES = "features.npy"  # of `embed`
CHECKPOINTS, WEIGHTS = "checkpoints", "weights.json"  # of `warmup`
UNUSABLE = "unusable.json"  # of `warmup`: numbers of the rows that nothing can be learnt from
RANKING = "ranking.parquet"  # of `rank`
ADAPTER, LOSSES = "adapter", "losses.jsonl"  # of `train`


def read_pool(entries: Entries) -> list[Example]:
    """All training rows, in file order."""
    return read_jsonl(entries["data"].folder / POOL)


def read_test(entries: Entries) -> list[Example]:
    """The test rows, in file order; empty when there are none."""
    return read_jsonl(entries["data"].folder / TEST)


def read_origins(entries: Entries) -> list[dict[str, Any]]:
    """Where the pool's rows came from, in the pool's order; empty for a pool made on the spot."""
    path = entries["data"].folder / ORIGINS
    return read_jsonl(path) if path.is_file() else []


def named(example: Mapping[str, Any]) -> str:
    """An example's row as its owner knows it: by its place or its number in its source, and by its own id."""
    if "row" not in example:
        return str(example["id"])
    place = example.get("place", f"row {example['row']} of {example['source']}")
    own = example.get("own_id")
    return f"{place} (id {own})" if own is not None else place


def text_of(example: Mapping[str, str]) -> str:
    """The text that embedders and DSIR read: prompt, newline, completion."""
    return f"{example['prompt']}\n{example['completion']}"


def read_features(entries: Entries) -> np.ndarray:
    """(n, d) float32 of all training rows, memory-mapped."""
    return np.load(entries["embed"].folder / FEATURES, mmap_mode="r")


def read_selected(entries: Entries) -> list[dict[str, Any]]:
    """The selected rows in pick order: the examples with rank, gain and where they come from."""
    return read_jsonl(entries["select"].folder / SELECTED)


def data_facts(entries: Entries) -> DataFacts:
    """What `data` reported."""
    return cast(DataFacts, entries["data"].facts)


def rank_facts(entries: Entries) -> RankFacts:
    """What `rank` reported."""
    return cast(RankFacts, entries["rank"].facts)


def select_facts(entries: Entries) -> SelectFacts:
    """What `select` reported."""
    return cast(SelectFacts, entries["select"].facts)


def read_usable(entries: Entries) -> np.ndarray:
    """(n,) bool of all training rows: those that LESS can learn from."""
    usable = np.ones(data_facts(entries)["n_rows"], dtype=bool)
    usable[json.loads((entries["warmup"].folder / UNUSABLE).read_text(encoding="utf-8"))] = False
    return usable


def selector_of(config: Config) -> selectors.Selector:
    """What the config's selector reads, and whether its picks are nested in the budget."""
    if isinstance(config.selector, RankingSelector):
        return selectors.Selector("ranking", "", frozenset(), {})
    return selectors.find(config.selector.kind)


def sizes(config: Config, entries: Entries) -> tuple[int, int]:
    """(rows in the pool, rows selected). Raises UserError for a budget beyond the pool, or a target that is empty."""
    n_rows = data_facts(entries)["n_rows"]
    n_pool = len(split.split(n_rows, config.target).pool)
    if selector_of(config).at_target and n_pool == n_rows:
        raise UserError(
            f"selector={config.selector.name} aims at held-out rows, and none of {n_rows} is held out: at most "
            f"target.max_share={config.target.max_share} of the rows are (raise it), or give more rows"
        )
    return n_pool, split.count(config.budget, n_pool)
