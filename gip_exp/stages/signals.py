"""The signals that need no model: metadata of the rows, self-compression of their embeddings, and mixtures."""

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
    """The rows' columns as scores: larger is better, and none is negative, because selectors square them."""
    path = job.inputs[METADATA_STAGE].folder / METADATA_FILE
    if not path.is_file():
        raise UserError(
            f"selector={job.config.selector.name} needs numbers, and none of the columns in data.metadata holds any: "
            "name a column of numbers"
        )
    table = read_signals(path)
    lower = _lower_is_better(job.config)
    if texts := [name for name in lower if name not in table.names]:
        raise UserError(
            f"data.lower_is_better names {texts[0]!r}, which holds text, no numbers: name a column of numbers "
            f"({', '.join(table.names)})"
        )
    for name in table.names:
        if LOSS_LIKE.search(name) and name not in lower:
            job.note(
                f"metadata column {name!r} is used as larger = better; if lower is better in it, set "
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
    """Say that a column is shifted; what is recorded of it."""
    negative, below = int((column < 0).sum()), int((column < zero).sum())
    what = "negated, then " if name in _lower_is_better(job.config) else ""
    further = f"; {below:,} rows below that are 0 too" if below else ""
    job.note(
        f"metadata column {name!r} has {negative:,} scores below zero (lowest {np.nanmin(column):g}), and scores are "
        f"squared: it is {what}shifted so that {zero:g} becomes 0{further}"
    )
    return {"zero": float(zero), "n_negative": negative, "n_below_zero": below}


def _lower_is_better(config: Config) -> tuple[str, ...]:
    return tuple(config.data.lower_is_better) if isinstance(config.data, RowsData) else ()


def _metadata_inputs(config: Config) -> tuple[str, ...]:
    return ("data",) if _missing_metadata(config) else (METADATA_STAGE,)


def _missing_metadata(config: Config) -> list[str]:
    if isinstance(config.data, RowsData) and config.data.metadata:
        return []
    where = "" if isinstance(config.data, RowsData) else " (and data of your own: this pool has none)"
    return [
        f"selector={config.selector.name} needs numeric columns of the rows: data.metadata=[COLUMN,...]{where}"
    ]


def _preparation(config: Config) -> dict[str, bool]:
    """How the embeddings are prepared: as the selector does, or as GIP does by default."""
    selector = config.selector
    if isinstance(selector, GipSelector):
        return {"center": selector.center, "normalize": selector.normalize}
    return {"center": True, "normalize": True}


def _self_compression(job: Job) -> None:
    from selection.self_compression import self_compression

    features = np.load(job.inputs["embed"].folder / FEATURES, mmap_mode="r")
    scores = self_compression(features, **_preparation(job.config))
    ids = tuple(example["id"] for example in read_pool(job.inputs))
    write_table(job, "self-compression", SignalTable(ids, ("self_compression",), scores[:, None]))


def _chosen(config: Config) -> OnScores:
    assert isinstance(config.selector, OnScores)
    return config.selector


def _mixture_inputs(config: Config) -> tuple[str, ...]:
    return tuple(SOURCE_STAGE[source] for source in _chosen(config).sources)


def _mixture(job: Job) -> None:
    """Scaled and weighted columns side by side, named `source/column` (`source` where it has one of its own name)."""
    tables: list[SignalTable] = []
    weights: dict[str, float] = {}
    for source in _chosen(job.config).sources:
        table = informative(job.inputs[SOURCE_STAGE[source]])
        wanted = column_weights(source, table.names, _chosen(job.config).signals)
        part = table.columns(list(wanted))
        part = part if part.names == (source,) else part.prefixed(source)
        tables.append(part)
        weights |= dict(zip(part.names, wanted.values(), strict=True))
    job.draft.facts["weights"] = weights
    write_table(job, "mixture", mixture(tables, weights))


def column_weights(
    source: str, columns: tuple[str, ...], signals: Mapping[str, float | None]
) -> dict[str, float]:
    """Column -> weight for one source: its own entry, else the source's. Raises UserError for what is not there."""
    own = {
        name.partition(".")[2]: weight for name, weight in signals.items() if name.startswith(f"{source}.")
    }
    absent = [column for column in own if column not in columns]
    if absent:
        raise UserError(
            f"selector.signals names {source}.{absent[0]}, which is not in the table or is the same for every row; "
            f"choose from: {', '.join(columns)}"
        )
    found = {column: own.get(column, signals.get(source)) for column in columns}
    return {column: weight for column, weight in found.items() if weight is not None}


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
    """Columns named in `selector.signals` that their source will not have; those of metadata are known by their names."""
    problems = []
    for source, columns in _columns(config).items():
        try:
            column_weights(source, columns, _chosen(config).signals)
        except UserError as error:
            problems.append(str(error))
    return problems


def _columns(config: Config) -> dict[str, tuple[str, ...]]:
    """The columns that each source of the mixture will have."""
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
