"""`describe`: what the selection took and left, as `selection.html`, `selection.md` and `scored.parquet`.

It reads the signals and embeddings of the run; a run without embeddings compares rows by a quick TF-IDF.
"""

from typing import Any

from gip_exp import pages
from gip_exp.artifacts import METADATA_STAGE, selector_of
from gip_exp.config import Config
from gip_exp.config.data import RowsData
from gip_exp.config.selector import OnScores
from gip_exp.runs.folder import SCORED_ROWS, SELECTION_PAGE, SELECTION_TEXT
from gip_exp.selection_report import findings, markdown, material, page, scored
from gip_exp.signals.table import SOURCE_STAGE
from gip_exp.stage import Entries, Job, Stage
from gip_exp.storage.files import file_digest, write_text


def _inputs(config: Config) -> tuple[str, ...]:
    names = ["data"]
    if isinstance(config.data, RowsData) and config.data.metadata:
        names.append(METADATA_STAGE)
    if isinstance(config.selector, OnScores):
        signals = (*config.selector.sources, config.selector.signal)
        names += [SOURCE_STAGE[signal] for signal in signals if signal in SOURCE_STAGE]
    if "features" in selector_of(config).reads:
        names.append("embed")
    return (*dict.fromkeys(names), "rank", "select")


def _settings(config: Config, _: Entries) -> dict[str, Any]:
    shown = {"experiment": config.experiment, "selector": config.selector.name}
    return {
        **shown,
        "budget": config.budget,
        "seed": config.seed,
        "page": [file_digest(file) for file in (page.TEMPLATE, page.SCRIPT, pages.STYLE, pages.SORTING)],
    }


def _build(job: Job) -> None:
    given = material.load(job)
    found = findings.find(given)
    scored.write(given, found, job.folder / SCORED_ROWS)
    content = page.content(job.config, given, found)
    write_text(job.folder / SELECTION_PAGE, page.render(content))
    write_text(job.folder / SELECTION_TEXT, markdown.render(content))
    job.draft.facts.update(
        complete=given.complete,
        measures={measure.name: measure.as_facts() for measure in found.measures},
    )


STAGE = Stage("describe", _inputs, _settings, _build)
