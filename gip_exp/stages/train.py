"""`train`: a LoRA adapter trained on the selected examples.

The key contains the ordered ids and texts of the selection instead of the selector, so two selectors with the same
selection share an adapter. Writes `adapter/` and `losses.jsonl`.
"""

import math
from dataclasses import replace
from typing import Any

from gip_exp.artifacts import ADAPTER, LOSSES, read_selected, row_name, select_facts, sizes
from gip_exp.config import Config
from gip_exp.config.base import content
from gip_exp.config.train import LoraTrain
from gip_exp.errors import UserError
from gip_exp.models import loading
from gip_exp.models.adapter_config import name_base
from gip_exp.models.machine import machine, missing_for_training
from gip_exp.models.prompts import renderer
from gip_exp.reselection import named, plain, steps_of
from gip_exp.stage import Entries, Job, Stage
from gip_exp.storage.files import read_jsonl, write_jsonl
from gip_exp.storage.store import Entry
from gip_exp.training.finetune import finetune
from gip_exp.training.losses import quarters
from gip_exp.training.task import Finetuned, Task, total_steps
from gip_exp.training.tokens import TrainingRows, training_rows

WORK = "work"  # checkpoints; removed when the output is complete


def _inputs(config: Config) -> tuple[str, ...]:
    return ("base", "select") if config.model.made else ("select",)


def _keyed(config: Config) -> tuple[str, ...]:
    return ("base",) if config.model.made else ()


def _settings(config: Config, entries: Entries) -> dict[str, Any]:
    return {
        "train": content(config.train),
        "prompt": content(config.model.prompt),
        "dtype": config.model.dtype,
        "model": loading.identity(config.model),
        "selected": select_facts(entries)["digest"],
    }


def _missing(config: Config) -> list[str]:
    assert isinstance(config.train, LoraTrain)
    return loading.missing_requirements(config) + missing_for_training(config.train, config)


def _build(job: Job) -> None:
    assert isinstance(job.config.train, LoraTrain)
    _train(job, job.config.train)


def _train(job: Job, train: LoraTrain) -> None:
    """Train on the selection, from a new adapter or from that of the input `start`."""
    where = machine(job.config, job.inputs)
    tokenizer = loading.load_tokenizer(where.place)
    examples = read_selected(job.inputs)
    found = training_rows(examples, renderer(job.config.model.prompt, tokenizer), tokenizer, train)
    _note_lengths(job, found, examples, train)
    work = job.draft.scratch(WORK)
    task = Task(
        found.rows,
        train,
        where,
        work,
        adapter=job.folder / ADAPTER,
        start=job.inputs["start"].folder / ADAPTER if "start" in job.inputs else None,
        save_every=train.checkpoint_steps,
    )
    with job.console.bar("fine-tuning", task.steps) as bar:
        done = finetune(task, on_step=bar.update, log=job.log, note=job.note)
    write_jsonl(job.folder / LOSSES, list(done.history))
    facts = _facts(done, task)
    job.draft.facts.update(facts)
    job.log({f"train/{name}": value for name, value in facts.items() if value is not None})


def _finish(job: Job) -> None:
    """Name the base model in the adapter as the config does, instead of a folder of this machine's cache.

    A base from scratch has no other name than its folder.
    """
    model = job.config.model
    if model.path is not None:
        name_base(job.folder / ADAPTER, model.path, model.revision)


def history(entry: Entry) -> list[dict[str, float]]:
    """Return the losses of a training that is reused, as they were logged; [] for another stage's output."""
    path = entry.folder / LOSSES
    rows = read_jsonl(path) if path.is_file() else []
    return [{"train/loss": row["loss"], "train/lr": row["lr"], "train/step": row["step"]} for row in rows]


def _note_lengths(job: Job, found: TrainingRows, examples: list[dict[str, Any]], train: LoraTrain) -> None:
    """Record lengths in tokens before truncation, and note truncated and left-out examples."""
    prompts, wholes = found.lengths.T.tolist()
    job.draft.facts["lengths"] = {
        "prompt": _spread(prompts),
        "completion": _spread([whole - prompt for whole, prompt in zip(wholes, prompts, strict=True)]),
        "both": _spread(wholes),
        "truncated": int(found.long.sum()),
        "without_loss": int(found.lost.sum()),
    }
    if not found.rows:
        raise UserError(
            f"every prompt fills train.max_length={train.max_length} tokens, so no completion remains: raise "
            "train.max_length"
            if train.too_long == "cut"
            else f"every example is longer than train.max_length={train.max_length} (train.too_long=drop): raise it"
        )
    for note in found.notes(lambda number: row_name(examples[number]), "train", train.max_length):
        job.note(note)


def _spread(lengths: list[int]) -> dict[str, int]:
    """Return minimum, median, 95th percentile (nearest rank) and maximum."""
    ordered = sorted(lengths)
    ranks = {"median": 0.5, "p95": 0.95}
    middle = {name: ordered[max(0, math.ceil(share * len(ordered)) - 1)] for name, share in ranks.items()}
    return {"min": ordered[0], **middle, "max": ordered[-1]}


def _facts(done: Finetuned, task: Task) -> dict[str, Any]:
    means = quarters(done.history)
    return {
        "steps": int(done.history[-1]["step"]),
        "examples": len(task.rows),
        "processes": task.train.processes,
        "first_loss": done.history[0]["loss"],
        "last_loss": done.history[-1]["loss"],
        "loss_of_first_quarter": round(means[0], 6) if means else None,
        "loss_of_last_quarter": round(means[1], 6) if means else None,
        **done.figures,
    }


STAGE = Stage(
    "train",
    _inputs,
    _settings,
    _build,
    _missing,
    resumable=True,
    keyed=_keyed,
    needs_device=lambda _: True,
    finish=_finish,
)


def in_round(number: int, last: int) -> Stage:
    """Return the stage of one round of a re-selection (`gip_exp.reselection`): its share of the steps, on all rows so far."""
    names = {"select": named("select", number, last)}
    if number > 1:
        names["start"] = named("train", number - 1, last)

    def build(job: Job) -> None:
        _train(plain(job, names), _of_round(job.config, job.inputs, number))

    return replace(
        STAGE,
        name=named("train", number, last),
        inputs=lambda config: (*_keyed(config), "data", *names.values()),
        settings=lambda config, entries: {
            **_settings(config, {**entries, "select": entries[names["select"]]}),
            "train": content(_of_round(config, entries, number)),
        },
        build=build,
        keyed=lambda config: (*_keyed(config), *([names["start"]] if number > 1 else [])),
    )


def _of_round(config: Config, entries: Entries, number: int) -> LoraTrain:
    """Return the settings of one round: of the steps that a single training would take, its share."""
    train = config.train
    assert isinstance(train, LoraTrain)
    steps = steps_of(total_steps(train, sizes(config, entries)[1]), number, config.rounds)
    # A later round starts from a tuned adapter, whose loss need not fall further.
    falls = train.require_loss_fall and number == 1
    return train.model_copy(update={"steps": steps, "epochs": None, "require_loss_fall": falls})
