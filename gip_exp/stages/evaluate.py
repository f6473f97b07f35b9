"""`evaluate`: one stage output for every evaluation asked for, with per-question outcomes beside the metrics."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gip_exp import models
from gip_exp.config import AnswerNllEvaluation, Config, Gsm8kEvaluation, LoraTrain, content
from gip_exp.errors import UserError
from gip_exp.prompts import renderer
from gip_exp.stage import Entries, Job, Stage
from gip_exp.stages.data import read_test
from gip_exp.stages.train import ADAPTER
from gip_exp.store import Entry, write_jsonl

PREDICTIONS = "predictions"
VERSIONS = {"gsm8k": 1, "answer_nll": 1}


def stages(config: Config) -> list[Stage]:
    """A stage for every evaluation in `evaluation`, named `evaluate/<name>`."""
    return [
        Stage(
            f"evaluate/{name}",
            VERSIONS[name],
            _inputs,
            lambda config, _, name=name: _settings(config, name),
            lambda job, name=name: _build(job, name),
            models.missing,
        )
        for name in config.evaluation.chosen()
    ]


def _inputs(config: Config) -> tuple[str, ...]:
    base = ("base",) if config.model.scratch else ()
    adapter = ("train",) if isinstance(config.train, LoraTrain) else ()
    return ("data", *base, *adapter)


def _settings(config: Config, name: str) -> dict[str, Any]:
    return {
        "evaluation": name,
        **content(config.evaluation.chosen()[name]),
        "engine": config.engine.kind,
        "prompt": content(config.model.prompt),
        "dtype": config.model.dtype,
        "model": models.identity(config.model),
    }


def _build(job: Job, name: str) -> None:
    place = models.location(job.config, job.inputs)
    adapter = str(job.inputs["train"].folder / ADAPTER) if "train" in job.inputs else None
    revision = job.config.model.revision
    tokenizer = models.load_tokenizer(place, revision)
    model = models.load(place, adapter, job.config.model.dtype, models.device(job.config), revision)
    metrics = EVALUATIONS[name](job, model, tokenizer)
    job.draft.facts["metrics"] = metrics


def _test_rows(job: Job, limit: int | None) -> list[dict[str, str]]:
    rows = read_test(job.inputs)[:limit]
    if not rows:
        raise UserError("the data has no test rows to evaluate on: put a test file beside the training file")
    return rows


def _gsm8k(job: Job, model: Any, tokenizer: Any) -> dict[str, Any]:
    raise NotImplementedError


def _answer_nll(job: Job, model: Any, tokenizer: Any) -> dict[str, Any]:
    raise NotImplementedError


EVALUATIONS = {"gsm8k": _gsm8k, "answer_nll": _answer_nll}


def copy_predictions(entries: Mapping[str, Entry], folder: Path) -> None:
    """Put the per-question outcomes beside `result.json`: `predictions/<evaluation>/<metric>.jsonl`."""
    for name, entry in entries.items():
        source = entry.folder / PREDICTIONS
        if entry.stage == "evaluate" and source.is_dir():
            shutil.copytree(source, folder / PREDICTIONS / name.split("/", 1)[1], dirs_exist_ok=True)
