"""`evaluate`: one stage output for every evaluation asked for, with per-question outcomes beside the metrics."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gip_exp.config import Config
from gip_exp.config.base import content
from gip_exp.config.train import LoraTrain
from gip_exp.evaluation.requirements import missing
from gip_exp.evaluation.tasks import EVALUATIONS, local_files
from gip_exp.evaluation.tuned_model import TunedModel
from gip_exp.models import loading
from gip_exp.runs.folder import PREDICTIONS
from gip_exp.signals import llm_judge
from gip_exp.stage import Entries, Job, Stage
from gip_exp.storage.files import copy_file, write_jsonl
from gip_exp.storage.store import Entry

VERSIONS = {"gsm8k": 1, "answer_nll": 1, "bbh": 1, "mt_bench": 3}


def stages(config: Config) -> list[Stage]:
    """A stage for every evaluation in `evaluation`, named `evaluate/<name>`."""
    return [
        Stage(
            f"evaluate/{name}",
            VERSIONS[name],
            _inputs,
            partial(_settings, name),
            partial(_build, name),
            partial(_missing, name),
        )
        for name in config.evaluation.chosen()
    ]


def _inputs(config: Config) -> tuple[str, ...]:
    base = ("base",) if config.model.scratch else ()
    adapter = ("train",) if isinstance(config.train, LoraTrain) else ()
    return ("data", *base, *adapter)


def _settings(name: str, config: Config, _: Entries) -> dict[str, Any]:
    return {
        "evaluation": name,
        **content(config.evaluation.chosen()[name]),
        **_of_mt_bench(name, config),
        **local_files(config, name),
        "engine": content(config.engine),
        "prompt": content(config.model.prompt),
        "dtype": config.model.dtype,
        "model": loading.identity(config.model),
    }


def _of_mt_bench(name: str, config: Config) -> dict[str, Any]:
    """Its judge is its weights, not where they lie; in this process, the draws of a batch come from one generator."""
    bench = config.evaluation.mt_bench
    if name != "mt_bench" or bench is None:
        return {}
    batch = {"batch_size": config.engine.batch_size} if config.engine.kind == "hf" else {}
    return {"judge": llm_judge.identity(bench.judge), **batch}


def _missing(name: str, config: Config) -> list[str]:
    return loading.missing(config) + missing(config, name)


def _build(name: str, job: Job) -> None:
    outcome = EVALUATIONS[name](job, TunedModel(job))
    for warning in outcome.warnings:
        job.note(warning)
    job.draft.facts["metrics"] = {metric: interval.as_dict() for metric, interval in outcome.metrics.items()}
    for metric, predictions in outcome.predictions.items():
        path = job.folder / PREDICTIONS / f"{metric}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(path, [prediction.as_dict() for prediction in predictions])


def copy_predictions(entries: Mapping[str, Entry], folder: Path) -> None:
    """Put the per-question outcomes beside `result.json`: `predictions/<metric name>.jsonl`."""
    for entry in entries.values():
        source = entry.folder / PREDICTIONS
        for path in sorted(source.rglob("*.jsonl")) if entry.stage == "evaluate" else ():
            target = folder / path.relative_to(entry.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_file(path, target)  # whole: somebody may be reading the one of an earlier run
