"""`evaluate`: one stage output per evaluation, with the metrics and the outcome of each question."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gip_exp.config import Config
from gip_exp.config.base import content
from gip_exp.config.train import LoraTrain
from gip_exp.evaluation import registry
from gip_exp.evaluation.tuned_model import TunedModel
from gip_exp.models import loading
from gip_exp.runs.folder import PREDICTIONS
from gip_exp.stage import Entries, Job, Stage
from gip_exp.storage.code_digest import Root
from gip_exp.storage.files import copy_file, write_jsonl
from gip_exp.storage.store import Entry


def stages(config: Config) -> list[Stage]:
    """Return a stage `evaluate/<name>` for each chosen evaluation."""
    return [
        Stage(
            f"evaluate/{name}",
            _inputs,
            partial(_settings, name),
            partial(_build, name),
            partial(_missing, name),
            resumable=registry.find(name).resumable,
            code=partial(_code, name),
        )
        for name in config.evaluation.chosen()
    ]


def _inputs(config: Config) -> tuple[str, ...]:
    base = ("base",) if config.model.made else ()
    adapter = ("train",) if isinstance(config.train, LoraTrain) else ()
    return ("data", *base, *adapter)


def _settings(name: str, config: Config, _: Entries) -> dict[str, Any]:
    return {
        "evaluation": name,
        **content(config.evaluation.chosen()[name]),
        **registry.find(name).settings(config.evaluation.chosen()[name], config),
        "engine": content(config.engine),
        "prompt": content(config.model.prompt),
        "dtype": config.model.dtype,
        "model": loading.identity(config.model),
    }


def _code(name: str, _: Config) -> tuple[Root, ...]:
    return registry.find(name).code


def _missing(name: str, config: Config) -> list[str]:
    return loading.missing_requirements(config) + registry.missing_requirements(config, name)


def _build(name: str, job: Job) -> None:
    outcome = registry.find(name).run(job, TunedModel(job))
    for warning in outcome.warnings:
        job.note(warning)
    job.draft.facts["metrics"] = {metric: interval.as_dict() for metric, interval in outcome.metrics.items()}
    for metric, predictions in outcome.predictions.items():
        path = job.folder / PREDICTIONS / f"{metric}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(path, [prediction.as_dict() for prediction in predictions])


def copy_predictions(entries: Mapping[str, Entry], folder: Path) -> None:
    """Copy the outcomes of the questions to `predictions/<metric name>.jsonl` in the run folder."""
    for entry in entries.values():
        source = entry.folder / PREDICTIONS
        for path in sorted(source.rglob("*.jsonl")) if entry.stage == "evaluate" else ():
            target = folder / path.relative_to(entry.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_file(path, target)  # atomic, because a report may be reading the previous file
