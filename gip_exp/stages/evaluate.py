"""`evaluate`: one stage output for every evaluation asked for, with per-question outcomes beside the metrics."""

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from eval.results import EvalResult
from gip_exp import models
from gip_exp.config import Config
from gip_exp.config.learning import LoraTrain
from gip_exp.config.section import content
from gip_exp.errors import UserError, mendable
from gip_exp.prompts import renderer
from gip_exp.stage import Entries, Job, Stage
from gip_exp.stages.data import read_pool, read_test
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
            partial(_settings, name),
            partial(_build, name),
            models.missing,
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
        "engine": config.engine.kind,
        "prompt": content(config.model.prompt),
        "dtype": config.model.dtype,
        "model": models.identity(config.model),
    }


def _build(name: str, job: Job) -> None:
    place = models.location(job.config, job.inputs)
    adapter = str(job.inputs["train"].folder / ADAPTER) if "train" in job.inputs else None
    tokenizer = models.load_tokenizer(place)
    model = models.load(place, adapter, job.config.model.dtype, models.device(job.config))
    with mendable():
        outcome = EVALUATIONS[name](job, model, tokenizer)
    for warning in outcome.warnings:
        job.note(warning)
    job.draft.facts["metrics"] = {metric: interval.as_dict() for metric, interval in outcome.metrics.items()}
    for metric, predictions in outcome.predictions.items():
        path = job.folder / PREDICTIONS / f"{metric}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_jsonl(path, [prediction.as_dict() for prediction in predictions])


def _test_rows(job: Job, limit: int | None) -> list[dict[str, str]]:
    rows = read_test(job.inputs)[:limit]
    if not rows:
        raise UserError("the data has no test rows to evaluate on: put a test file beside the training file")
    return rows


def _gsm8k(job: Job, model: Any, tokenizer: Any) -> EvalResult:
    from lm_eval.models.huggingface import HFLM

    from eval import gsm8k

    config = job.config.evaluation.gsm8k
    assert config is not None
    batch_size = job.config.engine.batch_size
    generator = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, backend="causal")
    rows = _test_rows(job, config.limit)
    if config.task == "few_shot":
        shots = [_question(example) for example in read_pool(job.inputs)]
        return gsm8k.few_shot(
            generator,
            test=[_question(example) for example in rows],
            train=shots,
            num_fewshot=config.shots,
            max_gen_toks=config.max_new_tokens,
        )
    render = renderer(job.config.model.prompt, tokenizer)
    asked = [
        {"id": row["id"], "prompt": render.prompt(row["prompt"]), "reference": row["completion"]}
        for row in rows
    ]
    return gsm8k.zero_shot(generator, asked, stop=[tokenizer.eos_token], max_gen_toks=config.max_new_tokens)


def _question(example: dict[str, str]) -> dict[str, str]:
    return {"id": example["id"], "question": example["prompt"], "answer": example["completion"]}


def _answer_nll(job: Job, model: Any, tokenizer: Any) -> EvalResult:
    from eval.answer_nll import answer_nll

    config = job.config.evaluation.answer_nll
    assert config is not None
    render = renderer(job.config.model.prompt, tokenizer)
    rows = [
        {"id": example["id"], **render.training_row(example)} for example in _test_rows(job, config.limit)
    ]
    return answer_nll(model, tokenizer, rows, batch_size=job.config.engine.batch_size)


EVALUATIONS = {"gsm8k": _gsm8k, "answer_nll": _answer_nll}


def copy_predictions(entries: Mapping[str, Entry], folder: Path) -> None:
    """Put the per-question outcomes beside `result.json`: `predictions/<metric name>.jsonl`."""
    for entry in entries.values():
        source = entry.folder / PREDICTIONS
        if entry.stage == "evaluate" and source.is_dir():
            shutil.copytree(source, folder / PREDICTIONS, dirs_exist_ok=True)
