"""Signals that need no model: metadata columns, self-compression of the embeddings, and mixtures."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from gip_exp.artifacts import FEATURES, METADATA_STAGE, read_pool
from gip_exp.artifacts import METADATA as METADATA_FILE
from gip_exp.config import Config
from gip_exp.config.data import RowsData
from gip_exp.config.judge import LLMJudge
from gip_exp.config.selector import GipSelector, OnScores
from gip_exp.errors import UserError
from gip_exp.registry.functions import rubrics
from gip_exp.signals.table import SOURCE_STAGE, informative, write_table
from gip_exp.stage import Entries, Job, Stage
from selection.signals import SignalTable, mixture, read_signals, score_zeros

LOSS_LIKE = re.compile(r"loss|perplexity|ppl|nll|toxic", re.IGNORECASE)


def _metadata(job: Job) -> None:
    """Use metadata columns as scores: larger is better, and none is negative, because selectors square them."""
    path = job.inputs[METADATA_STAGE].folder / METADATA_FILE
    if not path.is_file():
        raise UserError(
            f"selector={job.config.selector.name} needs numbers, but no column in data.metadata is numeric: give a numeric "
            "column"
        )
    table = read_signals(path)
    lower = _lower_is_better(job.config)
    if texts := [name for name in lower if name not in table.names]:
        raise UserError(
            f"data.lower_is_better names {texts[0]!r}, which is a text column: give a numeric column "
            f"({', '.join(table.names)})"
        )
    for name in table.names:
        if LOSS_LIKE.search(name) and name not in lower:
            job.note(
                f"metadata column {name!r} is used as larger = better; if lower is better, set "
                f"data.lower_is_better=[{name}]"
            )
    values = table.values * np.where(np.isin(table.names, list(lower)), -1.0, 1.0)
    zeros = score_zeros(values)
    shifted = {
        name: _shift(job, name, column, zero)
        for name, column, zero in zip(table.names, values.T, zeros, strict=True)
        if np.nanmin(column, initial=0.0) < 0
    }
    job.draft.facts["shifted"] = shifted
    write_table(job, "metadata", SignalTable(table.ids, table.names, np.maximum(values - zeros, 0.0)))


def _shift(job: Job, name: str, column: np.ndarray, zero: float) -> dict[str, float]:
    """Note that a column is shifted; return the facts to record."""
    negative, below = int((column < 0).sum()), int((column < zero).sum())
    negated = "negated, then " if name in _lower_is_better(job.config) else ""
    clipped = f"; {below:,} lower scores become 0 too" if below else ""
    job.note(
        f"metadata column {name!r} has {negative:,} scores below zero (lowest {np.nanmin(column):g}), and selectors square "
        f"scores: it is {negated}shifted so that {zero:g} becomes 0{clipped}"
    )
    return {"zero": float(zero), "n_negative": negative, "n_below_zero": below}


def _lower_is_better(config: Config) -> tuple[str, ...]:
    return tuple(config.data.lower_is_better) if isinstance(config.data, RowsData) else ()


def _metadata_inputs(config: Config) -> tuple[str, ...]:
    return ("data",) if _missing_metadata(config) else (METADATA_STAGE,)


def _missing_metadata(config: Config) -> list[str]:
    if isinstance(config.data, RowsData) and config.data.metadata:
        return []
    where = (
        ""
        if isinstance(config.data, RowsData)
        else ", and your own data: the generated pool has no such columns"
    )
    return [f"selector={config.selector.name} needs numeric columns: give data.metadata=[COLUMN,...]{where}"]


def _preparation(config: Config) -> dict[str, bool]:
    """Return the preparation of the embeddings: that of the selector, or GIP's default."""
    selector = config.selector
    if isinstance(selector, GipSelector):
        return {"center": selector.center, "normalize": selector.normalize}
    return {"center": True, "normalize": True}


def _self_compression(job: Job) -> None:
    from selection.self_compression import self_compression

    features = np.load(job.inputs["embed"].folder / FEATURES, mmap_mode="r")
    scores = self_compression(features, **_preparation(job.config))
    ids = tuple(read_pool(job.inputs).ids)
    write_table(job, "self-compression", SignalTable(ids, ("self_compression",), scores[:, None]))


def _chosen(config: Config) -> OnScores:
    assert isinstance(config.selector, OnScores)
    return config.selector


def _mixture_inputs(config: Config) -> tuple[str, ...]:
    return tuple(SOURCE_STAGE[source] for source in _chosen(config).sources)


def _mixture(job: Job) -> None:
    """Combine the scaled and weighted columns of all sources, named `source/column`, or `source` if it has one column."""
    tables: list[SignalTable] = []
    weights: dict[str, float] = {}
    for source, table in _informative_sources(job).items():
        by_column = column_weights(source, table.names, _chosen(job.config).signals)
        part = table.columns(list(by_column))
        part = part if part.names == (source,) else part.prefixed(source)
        tables.append(part)
        weights |= dict(zip(part.names, by_column.values(), strict=True))
    job.draft.facts["weights"] = weights
    write_table(job, "mixture", mixture(tables, weights))


def _informative_sources(job: Job) -> dict[str, SignalTable]:
    """Return the tables of the sources, without those that are constant, which are noted; UserError if all are."""
    found: dict[str, SignalTable] = {}
    constant: dict[str, UserError] = {}
    for source in _chosen(job.config).sources:
        try:
            found[source] = informative(job.inputs[SOURCE_STAGE[source]])
        except UserError as error:
            constant[source] = error
    if not found:
        raise next(iter(constant.values()))
    for source in constant:
        job.note(f"the signal {source} is the same for every row and has no part in the mixture")
    return found


def column_weights(
    source: str, columns: tuple[str, ...], signals: Mapping[str, float | None]
) -> dict[str, float]:
    """Return the weights of a source's columns: the column's own entry in `signals`, or else that of the source.

    Raises:
        UserError: `signals` names an unknown column.
    """
    own = {
        name.partition(".")[2]: weight for name, weight in signals.items() if name.startswith(f"{source}.")
    }
    unknown = [column for column in own if column not in columns]
    if unknown:
        raise UserError(
            f"selector.signals names {source}.{unknown[0]}, which is not in the table or is the same for every row; "
            f"choose from: {', '.join(columns)}"
        )
    weights = {column: own.get(column, signals.get(source)) for column in columns}
    return {column: weight for column, weight in weights.items() if weight is not None}


METADATA = Stage(
    SOURCE_STAGE["metadata"],
    _metadata_inputs,
    lambda config, _: {"lower_is_better": sorted(_lower_is_better(config))},
    _metadata,
    _missing_metadata,
)
SELF_COMPRESSION = Stage(
    SOURCE_STAGE["self_compression"],
    lambda _: ("data", "embed"),
    lambda config, _: dict(_preparation(config)),
    _self_compression,
)


def _mixture_settings(config: Config, _: Entries) -> dict[str, Any]:
    return {"signals": dict(_chosen(config).signals)}


def _missing_columns(config: Config) -> list[str]:
    """Return a problem for each source with a column in `selector.signals` that it will not have."""
    problems = []
    for source, columns in _columns(config).items():
        try:
            column_weights(source, columns, _chosen(config).signals)
        except UserError as error:
            problems.append(str(error))
    return problems


def _columns(config: Config) -> dict[str, tuple[str, ...]]:
    """Return the columns of the sources of the mixture, as far as they are known before running."""
    known = {
        "self_consistency": ("self_consistency",),
        "self_compression": ("self_compression",),
        "metadata": tuple(config.data.metadata) if isinstance(config.data, RowsData) else (),
    }
    if isinstance(config.judge, LLMJudge):
        known["judge"] = tuple(str(attribute.get("name")) for attribute in config.rubric.attributes)
    elif config.rubric.name in (attributes := rubrics(config.judge.kind) or {}):
        known["judge"] = attributes[config.rubric.name]
    return {source: known[source] for source in _chosen(config).sources if source in known}


MIXTURE = Stage(SOURCE_STAGE["mixture"], _mixture_inputs, _mixture_settings, _mixture, _missing_columns)
