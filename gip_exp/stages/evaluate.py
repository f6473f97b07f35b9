"""`evaluate`: one stage output per evaluation, with the metrics and the outcome of each question."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gip_exp.config import Config
from gip_exp.config.base import content
from gip_exp.config.judge import LLMJudge
from gip_exp.config.train import LoraTrain
from gip_exp.evaluation import registry
from gip_exp.evaluation.tuned_model import TunedModel
from gip_exp.models import converted, gguf_file, loading
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
            partial(_inputs, name),
            partial(_settings, name),
            partial(_build, name),
            partial(_missing, name),
            resumable=registry.find(name).resumable,
            keyed=_keyed,
            code=partial(_code, name),
        )
        for name in config.evaluation.chosen()
    ]


def _inputs(name: str, config: Config) -> tuple[str, ...]:
    judge = _judge_here(name, config)
    served = converted.stages_of(config, judge.model) if judge else ()
    return tuple(dict.fromkeys((*_keyed(config), *served)))  # the judge's file is in the settings


def _judge_here(name: str, config: Config) -> LLMJudge | None:
    """Return the judge of an evaluation that is converted from a GGUF file, if it has one."""
    judge = getattr(config.evaluation.chosen()[name], "judge", None)
    return judge if isinstance(judge, LLMJudge) and judge.gguf else None


def _keyed(config: Config) -> tuple[str, ...]:
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


def _code(name: str, config: Config) -> tuple[Root, ...]:
    conversion = (gguf_file.convert,) if _judge_here(name, config) else ()
    return (*registry.find(name).code, *conversion)


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
