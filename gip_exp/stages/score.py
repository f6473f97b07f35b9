"""`score`: a judge's attributes for every training row, as a table with one named column an attribute.

Rows that could not be scored hold NaN: they stay in the pool's count but cannot be picked by a selector that needs
the scores.
"""

from typing import Any

import numpy as np

from gip_exp.config import Config
from gip_exp.config.inputs import LLMJudge, RulesJudge
from gip_exp.config.section import content
from gip_exp.errors import UserError, mendable
from gip_exp.files import write_jsonl
from gip_exp.stage import Entries, Job, Stage
from gip_exp.stages.data import read_pool

SCORES, UNSCORED = "scores.parquet", "unscored.jsonl"


def _settings(config: Config, _: Entries) -> dict[str, Any]:
    rubric = config.rubric.name if isinstance(config.judge, RulesJudge) else content(config.rubric)
    return {"judge": content(config.judge), "rubric": rubric}


def _build(job: Job) -> None:
    examples = read_pool(job.inputs)
    with mendable():
        columns = (_by_rules if isinstance(job.config.judge, RulesJudge) else _by_model)(job, examples)
    write_scores(job, [example["id"] for example in examples], columns)


def _by_rules(job: Job, examples: list[dict[str, str]]) -> dict[str, np.ndarray]:
    from gip_exp import rules

    return rules.score(examples, job.config.rubric.name)


def _by_model(job: Job, examples: list[dict[str, str]]) -> dict[str, np.ndarray]:
    from gip_exp import judging

    config = job.config
    assert isinstance(config.judge, LLMJudge)
    table = judging.judge(examples, config.judge, config.rubric, root=config.paths.root, console=job.console)
    job.draft.facts["judge"] = table.summary()
    write_jsonl(job.folder / UNSCORED, [{"id": row.id, "reason": row.reason} for row in table.unscored])
    if table.unscored:
        job.note(
            f"{table.n_unscored} of {len(examples)} examples could not be scored (first: {table.unscored[0].id}: "
            f"{table.unscored[0].reason}); judge.round={config.judge.round + 1} asks for them again"
        )
    return {name: table.scores[:, column] for column, name in enumerate(table.attributes)}


def write_scores(job: Job, ids: list[str], columns: dict[str, np.ndarray]) -> None:
    """Write the table, its summary, and a note for every attribute that is the same everywhere."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": ids, **columns}), job.folder / SCORES)
    summary = {
        name: {"mean": round(float(np.nanmean(values)), 4), "sd": round(float(np.nanstd(values)), 4)}
        for name, values in columns.items()
    }
    unscored = int(np.isnan(np.column_stack(list(columns.values()))).any(axis=1).sum())
    job.draft.facts.update(n=len(ids), n_unscored=unscored, attributes=summary)
    for name in constant_columns(columns):
        job.note(
            f"attribute {name!r} is {columns[name][0]:g} for every row: it says nothing and is not used as a signal"
        )


def constant_columns(columns: dict[str, np.ndarray]) -> list[str]:
    """Names of the columns that hold one value only."""
    return [name for name, values in columns.items() if np.nanmax(values) == np.nanmin(values)]


def read_scores(entries: Entries) -> tuple[list[str], np.ndarray]:
    """(names, scores (n, k) float64) of the attributes that vary; NaN where unscored."""
    import pyarrow.parquet as pq

    table = pq.read_table(entries["score"].folder / SCORES)
    columns = {name: table[name].to_numpy().astype(np.float64) for name in table.column_names if name != "id"}
    constant = set(constant_columns(columns))
    names = [name for name in columns if name not in constant]
    if not names:
        raise UserError(
            "every attribute of the judge is the same for every row, so the scores say nothing: "
            "choose another judge or rubric, or a selector without scores (selector=mp_sc)"
        )
    return names, np.column_stack([columns[name] for name in names])


def _missing(config: Config) -> list[str]:
    if isinstance(config.judge, RulesJudge):
        return []
    from gip_exp import judging

    return judging.missing(config.judge)


STAGE = Stage("score", 1, lambda _: ("data",), _settings, _build, _missing)
