"""`score`: signals of the training rows, each as a table with named columns (`gip_exp.signals.table`).

The stage `score` makes the attributes of the judge. Other signals are `score/self_consistency`, `score/metadata`,
`score/self_compression` and `score/mixture`; a run makes those that its selector needs. Rows that could not be scored
have NaN: they count as part of the pool but cannot be picked by a selector that reads the scores.
"""

from typing import Any

import numpy as np

from gip_exp.artifacts import read_origins, read_pool, row_name, selector_of
from gip_exp.config import Config
from gip_exp.config.base import content
from gip_exp.config.judge import LLMJudge
from gip_exp.config.selector import OnScores
from gip_exp.errors import UserError
from gip_exp.models import converted, gguf_file
from gip_exp.registry.functions import JUDGES, rubrics
from gip_exp.signals import judge_endpoint, judge_requirements, judge_sample, lifetime, llm_judge
from gip_exp.signals.table import UNSCORED, informative, write_table
from gip_exp.stage import Entries, Job, Stage
from gip_exp.stages import losses, self_consistency, signals
from gip_exp.storage.code_digest import Root
from gip_exp.storage.files import write_jsonl, write_text
from gip_exp.storage.row_table import RowTable
from selection.signals import SignalTable

TRANSCRIPT = "transcript.md"  # request and reply of the judge for the first example


def from_rows(config: Config) -> list[Stage]:
    """Return the stages of signals computed from rows; the judge for a selector that reads none of them."""
    if "losses" in selector_of(config).reads:
        return [losses.STAGE]
    stages = {"judge": STAGE, "self_consistency": self_consistency.STAGE, "metadata": signals.METADATA}
    return [stages[source] for source in _sources(config) if source in stages]


def from_tables(config: Config) -> list[Stage]:
    """Return the stages of signals computed from embeddings or from other signals."""
    stages = [signals.SELF_COMPRESSION] if "self_compression" in _sources(config) else []
    return [*stages, signals.MIXTURE] if config.selector.signal == "mixture" else stages


def _sources(config: Config) -> tuple[str, ...]:
    return config.selector.sources if isinstance(config.selector, OnScores) else ("judge",)


def _settings(config: Config, _: Entries) -> dict[str, Any]:
    if isinstance(config.judge, LLMJudge):
        seed = {} if config.judge.sample is None else {"seed": config.seed}
        return {"judge": judge_endpoint.identity(config.judge), "rubric": content(config.rubric), **seed}
    return {"judge": content(config.judge), "rubric": config.rubric.name}


def _build(job: Job) -> None:
    examples = read_pool(job.inputs)
    columns = (_by_model if isinstance(job.config.judge, LLMJudge) else _by_function)(job, examples)
    ids = tuple(examples.ids)
    title = f"{job.config.judge.name}, rubric {job.config.rubric.name}"
    write_table(job, title, SignalTable(ids, tuple(columns), np.column_stack(list(columns.values()))))


def _by_function(job: Job, examples: RowTable) -> dict[str, np.ndarray]:
    judge, reasons = job.config.judge, dict[int, str]()
    filled = {
        "examples": examples,
        "rubric": job.config.rubric.name,
        "reasons": reasons,
        "facts": job.draft.facts,
        "note": job.note,
    }
    with job.console.bar(f"judging with {judge.name}", len(examples)) as bar:
        columns: dict[str, np.ndarray] = JUDGES.call(judge, filled | {"advance": bar.advance})
    _check(judge.name, columns, len(examples))
    if unscored := np.flatnonzero(np.isnan(np.column_stack(list(columns.values()))).any(axis=1)).tolist():
        rows = [
            {"id": examples[row]["id"], "reason": reasons.get(row, f"judge={judge.name} gave no score")}
            for row in unscored
        ]
        write_jsonl(job.folder / UNSCORED, rows)
        origins, first = read_origins(job.inputs), unscored[0]
        name = row_name(origins[first] if origins is not None else examples[first])
        job.note(
            f"{len(rows):,} of {len(examples):,} rows are unscored and cannot be picked by these scores (first: "
            f"{name}: {rows[0]['reason']})"
        )
    return columns


def _check(name: str, columns: dict[str, np.ndarray], n: int) -> None:
    """Raise UserError unless a judge returned a finite number or NaN for each attribute and row."""
    if not columns:
        raise UserError(f"judge={name} returned no attribute")
    for attribute, values in columns.items():
        if np.shape(values) != (n,) or np.isinf(values).any():
            raise UserError(
                f"judge={name}: attribute {attribute!r} must have {n:,} numbers, one per row, NaN if unscored; it has the "
                f"shape {np.shape(values)} and {int(np.isinf(values).sum())} infinite values"
            )
    if np.isnan(np.column_stack(list(columns.values()))).any(axis=1).all():
        raise UserError(f"judge={name} scored none of the {n:,} rows")


def _by_model(job: Job, examples: RowTable) -> dict[str, np.ndarray]:
    config = job.config
    assert isinstance(config.judge, LLMJudge)
    rows = judge_sample.rows(config, len(examples))
    judged = examples if rows is None else examples.take(rows)
    table, transcript = llm_judge.judge(
        judged,
        config.judge,
        config.rubric,
        root=config.paths.root,
        console=job.console,
        place=converted.place(config, config.judge.model, job.inputs),
        whole=examples,
    )
    write_text(job.folder / TRANSCRIPT, transcript)
    job.draft.facts["judge"] = table.summary()
    write_jsonl(job.folder / UNSCORED, [{"id": row.id, "reason": row.reason} for row in table.unscored])
    for text in lifetime.notes(config.judge, "judge", table.stats.models):
        job.note(text)
    if table.unscored:
        job.note(
            f"{table.n_unscored} of {len(judged)} examples could not be scored (first: {table.unscored[0].id}: "
            f"{table.unscored[0].reason}); judge.round={config.judge.round + 1} asks for them again"
        )
    columns = {name: table.scores[:, column] for column, name in enumerate(table.attributes)}
    if rows is None:
        return columns
    job.note(
        f"only {len(rows):,} of {len(examples):,} rows are judged (judge.sample={config.judge.sample}, seed={config.seed})"
    )
    return {name: judge_sample.scattered(values, rows, len(examples)) for name, values in columns.items()}


def read_scores(entries: Entries) -> tuple[list[str], np.ndarray]:
    """Read (names, scores (n, k) float64) of the judge's attributes that vary; NaN for unscored rows."""
    table = informative(entries["score"])
    return list(table.names), np.array(table.values)


def _missing(config: Config) -> list[str]:
    if isinstance(config.judge, LLMJudge):
        problems = judge_requirements.missing_rubric(config.rubric) + judge_sample.missing(config)
        return problems + judge_requirements.missing_judge(config.judge)
    known = rubrics(config.judge.kind)
    if known is None or config.rubric.name in known:
        return []
    return [
        f"rubric.name={config.rubric.name!r}: judge={config.judge.name} has {', '.join(known)}; choose one (rubric=NAME)"
    ]


def _inputs(config: Config) -> tuple[str, ...]:
    # The file is in the settings, and the way of converting it in the code, so that its folder need not be in the key.
    served = converted.stages_of(config, config.judge.model) if isinstance(config.judge, LLMJudge) else ()
    return ("data", *served)


def _code(config: Config) -> tuple[Root, ...]:
    if isinstance(config.judge, LLMJudge):
        return (gguf_file.convert,) if config.judge.gguf else ()
    kind = config.judge.kind
    return (JUDGES.function(kind),) if kind in JUDGES.kinds() else ()


STAGE = Stage("score", _inputs, _settings, _build, _missing, keyed=lambda _: ("data",), code=_code)
