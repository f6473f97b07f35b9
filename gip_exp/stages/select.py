"""`select`: the first rows of the ranking up to the budget, with their texts (`selected.jsonl`).

With `budget_unit=tokens`, the budget counts the tokens of one pass of the fine-tuning over the rows.

Each row has its source, its number there (from 1), and its own id if it has one. With `data.keep_rows`,
`selected_rows.jsonl` contains the original rows in the same order.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import repeat
from typing import Any

import pyarrow.parquet as pq

from gip_exp import token_budget
from gip_exp.artifacts import RANKING, ROWS, read_origins, read_pool, sizes, text_of
from gip_exp.config import Config
from gip_exp.config.base import content
from gip_exp.config.train import LoraTrain
from gip_exp.errors import UserError
from gip_exp.models import loading
from gip_exp.reselection import named, plain, share
from gip_exp.runs.folder import SELECTED, SELECTED_ROWS
from gip_exp.stage import Entries, Job, Stage
from gip_exp.storage.files import digest, write_jsonl, write_text
from gip_exp.storage.row_table import read_table


def _inputs(config: Config) -> tuple[str, ...]:
    tokenizer_of = ("base",) if config.budget_unit == "tokens" and config.model.made else ()
    return (*tokenizer_of, "data", "rank")


def _settings(config: Config, entries: Entries) -> dict[str, Any]:
    if config.budget_unit == "rows":
        return {"n_selected": sizes(config, entries)[1]}
    assert isinstance(config.train, LoraTrain)
    how = {name: getattr(config.train, name) for name in ("max_length", "too_long", "loss_on")}
    return {
        "tokens": config.budget,
        **how,
        "prompt": content(config.model.prompt),
        "model": loading.identity(config.model),
    }


def _missing(config: Config) -> list[str]:
    return loading.missing_requirements(config) if config.budget_unit == "tokens" else []


def _ranked(job: Job) -> Any:
    """Return the part of the ranking that is selected. Raises UserError if the budget cannot be met."""
    ranking = pq.read_table(job.inputs["rank"].folder / RANKING)
    if job.config.budget_unit == "tokens":
        n_selected, n_tokens = token_budget.prefix(job, ranking["row"].to_numpy(), read_pool(job.inputs))
        job.draft.facts["n_tokens"] = n_tokens
        return ranking.slice(0, n_selected)
    n_pool, n_selected = sizes(job.config, job.inputs)
    if len(ranking) < n_selected:  # a ranking made for a smaller budget may be limited to the scored rows
        raise UserError(
            f"budget={job.config.budget} needs {n_selected} rows, but only {len(ranking)} of {n_pool} are ranked "
            "(the others are unscored, or the selector leaves them out): lower the budget"
        )
    return ranking.slice(0, n_selected)


def _build(job: Job) -> None:
    _write(job, None)


def _write(job: Job, first: int | None) -> None:
    """Write the selected rows: those of the budget, or the first ones of the ranking."""
    ranking, examples = _ranked(job) if first is None else _first(job, first), read_pool(job.inputs)
    rows = ranking["row"].to_pylist()
    origins = read_origins(job.inputs)
    sources = map(_source, origins.take(rows)) if origins else repeat({}, len(rows))
    selected = [
        {**example, "rank": rank, "gain": gain, **source}
        for rank, (example, gain, source) in enumerate(
            zip(examples.take(rows), ranking["gain"].to_pylist(), sources, strict=True), 1
        )
    ]
    write_jsonl(job.folder / SELECTED, selected)
    originals = job.inputs["data"].folder / ROWS
    if originals.is_file():
        lines = (original["row"] for original in read_table(originals).take(rows))
        write_text(job.folder / SELECTED_ROWS, "".join(lines))
    lengths = [len(text_of(example).split()) for example in selected]
    job.draft.facts.update(
        n_pool=sizes(job.config, job.inputs)[0],
        n_selected=len(selected),
        mean_words=round(sum(lengths) / len(lengths), 2),
        digest=_digest(selected),
    )


def _first(job: Job, count: int) -> Any:
    """Return the first rows of the ranking."""
    return pq.read_table(job.inputs["rank"].folder / RANKING).slice(0, count)


def _source(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a row's origin that identify it in its source."""
    return {name: origin[name] for name in ("source", "row", "own_id") if name in origin}


def _digest(selected: list[dict[str, Any]]) -> str:
    """Return a digest of the ordered ids and texts, on which training depends, independent of selector and budget."""
    parts = ("id", "prompt", "completion", "turns", "tools")
    return digest([[row[part] for part in parts if part in row] for row in selected], 32)


STAGE = Stage("select", _inputs, _settings, _build, _missing)


def in_round(number: int, last: int, *, of_first: bool) -> Stage:
    """Return the stage of one round of a re-selection (`gip_exp.reselection`): all rows selected so far.

    Args:
        number: The round.
        last: The last round.
        of_first: Whether all rounds take their rows from one ranking.
    """
    if number == last:
        return STAGE
    ranking = "rank" if of_first else named("rank", number, last)

    def build(job: Job) -> None:
        _write(plain(job, {"rank": ranking}), share(sizes(job.config, job.inputs)[1], number, last))

    return replace(
        STAGE,
        name=named("select", number, last),
        inputs=lambda _: ("data", ranking),
        settings=lambda config, entries: {"n_selected": share(sizes(config, entries)[1], number, last)},
        build=build,
    )
