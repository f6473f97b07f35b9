"""`score`: signals for every training row, each as a table with named columns (`signal_table.py`).

The stage `score` itself is the judge: its attributes. Beside it stand `score/self_consistency`, `score/metadata`,
`score/self_compression` and `score/mixture`; a run makes those that its selector's signal needs. Rows that could
not be scored hold NaN: they stay in the pool's count but cannot be picked by a selector that needs the scores.
"""

from collections import Counter
from typing import Any

import numpy as np

from gip_exp.artifacts import read_pool
from gip_exp.config import Config
from gip_exp.config.base import content
from gip_exp.config.judge import LLMJudge, RulesJudge
from gip_exp.config.selector import OnScores
from gip_exp.errors import UserError
from gip_exp.signals import llm_judge
from gip_exp.signals.table import UNSCORED, informative, write_table
from gip_exp.stage import Entries, Job, Stage
from gip_exp.stages import self_consistency, signals
from gip_exp.storage.files import write_jsonl, write_text
from selection.signals import SignalTable

OTHERS = 0.05  # of the replies in other languages than English: more is worth a note
UNREAD = "reads Latin letters only"
REMEDY = "for others use judge=openai, judge=vllm or a selector without scores (selector=mp_sc)"
TRANSCRIPT = "transcript.md"  # the first example: what the judge was sent and what it replied


def from_rows(config: Config) -> list[Stage]:
    """The signals of this config that are made from rows alone; the judge where the selector has no signal."""
    made = {"judge": STAGE, "self_consistency": self_consistency.STAGE, "metadata": signals.METADATA}
    return [made[source] for source in _sources(config) if source in made]


def from_tables(config: Config) -> list[Stage]:
    """The signals of this config that are made from embeddings or from other signals."""
    made = [signals.SELF_COMPRESSION] if "self_compression" in _sources(config) else []
    return [*made, signals.MIXTURE] if config.selector.signal == "mixture" else made


def _sources(config: Config) -> tuple[str, ...]:
    return config.selector.sources if isinstance(config.selector, OnScores) else ("judge",)


def _settings(config: Config, _: Entries) -> dict[str, Any]:
    if isinstance(config.judge, RulesJudge):
        return {"judge": content(config.judge), "rubric": config.rubric.name}
    return {"judge": llm_judge.identity(config.judge), "rubric": content(config.rubric)}


def _build(job: Job) -> None:
    examples = read_pool(job.inputs)
    columns = (_by_rules if isinstance(job.config.judge, RulesJudge) else _by_model)(job, examples)
    ids = tuple(example["id"] for example in examples)
    title = f"{job.config.judge.name}, rubric {job.config.rubric.name}"
    write_table(job, title, SignalTable(ids, tuple(columns), np.column_stack(list(columns.values()))))


def _by_rules(job: Job, examples: list[dict[str, str]]) -> dict[str, np.ndarray]:
    from gip_exp.signals import rules

    columns = rules.score(examples, job.config.rubric.name)
    unread = np.flatnonzero(np.isnan(next(iter(columns.values()))))
    ids = [examples[row]["id"] for row in unread]
    if len(unread) == len(examples):
        raise UserError(f"judge=rules {UNREAD}, and all {len(examples):,} rows are in others: {REMEDY}")
    if ids:
        write_jsonl(job.folder / UNSCORED, [{"id": name, "reason": UNREAD} for name in ids])
        job.note(
            f"judge=rules {UNREAD}: {len(ids):,} of {len(examples):,} rows are unscored and cannot be picked by these "
            f"scores (first: {ids[0]}); {REMEDY}"
        )
    if job.config.rubric.name == "instruction":
        _say_languages(job, examples)
    return columns


def _say_languages(job: Job, examples: list[dict[str, str]]) -> None:
    """The rules know English best: say how many rows are in another language that they recognise."""
    from gip_exp.signals.rules.replies import language

    spoken = Counter(language(example["completion"]) for example in examples)
    others = {name: count for name, count in spoken.most_common() if name not in ("", "English")}
    if sum(others.values()) > OTHERS * len(examples):
        counts = ", ".join(f"{count:,} in {name}" for name, count in others.items())
        job.note(
            f"judge=rules knows English best, and of {len(examples):,} replies {counts}: of these it sees whether they break "
            f"off, repeat themselves, echo the prompt or change the language; {REMEDY}"
        )


def _by_model(job: Job, examples: list[dict[str, str]]) -> dict[str, np.ndarray]:
    config = job.config
    assert isinstance(config.judge, LLMJudge)
    table, transcript = llm_judge.judge(
        examples, config.judge, config.rubric, root=config.paths.root, console=job.console
    )
    write_text(job.folder / TRANSCRIPT, transcript)
    job.draft.facts["judge"] = table.summary()
    write_jsonl(job.folder / UNSCORED, [{"id": row.id, "reason": row.reason} for row in table.unscored])
    if table.unscored:
        job.note(
            f"{table.n_unscored} of {len(examples)} examples could not be scored (first: {table.unscored[0].id}: "
            f"{table.unscored[0].reason}); judge.round={config.judge.round + 1} asks for them again"
        )
    return {name: table.scores[:, column] for column, name in enumerate(table.attributes)}


def read_scores(entries: Entries) -> tuple[list[str], np.ndarray]:
    """(names, scores (n, k) float64) of the judge's attributes that vary; NaN where unscored."""
    table = informative(entries["score"])
    return list(table.names), np.array(table.values)


def _missing(config: Config) -> list[str]:
    if isinstance(config.judge, LLMJudge):
        return llm_judge.missing_rubric(config.rubric) + llm_judge.missing(config.judge)
    from gip_exp.signals.rules import RUBRICS

    if config.rubric.name in RUBRICS:
        return []
    return [
        f"rubric.name={config.rubric.name!r}: judge=rules knows {', '.join(RUBRICS)}; choose one (rubric=NAME)"
    ]


STAGE = Stage("score", lambda _: ("data",), _settings, _build, _missing)
