"""`train`: a LoRA adapter on the selected examples.

The key holds the ordered ids and texts of the selection instead of how it came about: two selectors that chose the
same examples share one adapter, and `full` trains once however it is swept. Writes `adapter/` and `losses.jsonl`.
"""

from typing import Any

from gip_exp import models
from gip_exp.config import Config
from gip_exp.config.learning import LoraTrain
from gip_exp.config.section import content
from gip_exp.files import write_jsonl
from gip_exp.finetune import Finetuned, finetune, machine, total_steps, training_rows
from gip_exp.prompts import renderer
from gip_exp.stage import Entries, Job, Stage
from gip_exp.stages.select import read_selected

ADAPTER, LOSSES = "adapter", "losses.jsonl"


def _inputs(config: Config) -> tuple[str, ...]:
    return ("base", "select") if config.model.scratch else ("select",)


def _keyed(config: Config) -> tuple[str, ...]:
    return ("base",) if config.model.scratch else ()


def _settings(config: Config, entries: Entries) -> dict[str, Any]:
    return {
        "train": content(config.train),
        "prompt": content(config.model.prompt),
        "dtype": config.model.dtype,
        "model": models.identity(config.model),
        "selected": entries["select"].facts["digest"],
    }


def _build(job: Job) -> None:
    train = job.config.train
    assert isinstance(train, LoraTrain)
    where = machine(job.config, job.inputs)
    tokenizer = models.load_tokenizer(where.place)
    rows = training_rows(read_selected(job.inputs), renderer(job.config.model.prompt, tokenizer))
    _note_truncated(job, rows, tokenizer, train.max_length)
    with job.console.bar("fine-tuning", total_steps(train, len(rows))) as bar:
        done = finetune(rows, train, where, folder=job.folder / "work", on_step=bar.update, log=job.log)
    done.trainer.save_model(str(job.folder / ADAPTER))
    write_jsonl(job.folder / LOSSES, list(done.history))
    job.draft.facts.update(_facts(done, len(rows)))


def _note_truncated(job: Job, rows: list[dict[str, str]], tokenizer: Any, max_length: int) -> None:
    texts = [row["prompt"] + row["completion"] for row in rows]
    lengths = sorted(len(ids) for ids in tokenizer(texts)["input_ids"])
    cut = sum(length > max_length for length in lengths)
    job.draft.facts["tokens"] = {
        "median": lengths[len(lengths) // 2],
        "longest": lengths[-1],
        "truncated": cut,
    }
    if cut:
        job.note(
            f"{cut} of {len(rows)} examples are longer than train.max_length={max_length} and are cut there"
        )


def _facts(done: Finetuned, n_rows: int) -> dict[str, Any]:
    import torch

    return {
        "steps": done.steps,
        "examples": n_rows,
        "first_loss": done.history[0]["loss"] if done.history else None,
        "last_loss": done.history[-1]["loss"] if done.history else None,
        "trainable_parameters": sum(p.numel() for p in done.trainer.model.parameters() if p.requires_grad),
        "train_seconds": round(done.metrics["train_runtime"], 3),
        "examples_per_second": round(done.metrics["train_samples_per_second"], 2),
        "peak_gpu_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
    }


STAGE = Stage("train", 1, _inputs, _settings, _build, models.missing, keyed=_keyed)
