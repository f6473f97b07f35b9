"""`train`: a LoRA adapter on the selected examples, with TRL's SFTTrainer and PEFT; loss on the completions only.

The key holds the ordered ids and texts of the selection instead of how it came about: two selectors that chose the
same examples share one adapter, and `full` trains once however it is swept. Writes `adapter/` and `losses.jsonl`.
"""

import math
from collections.abc import Callable
from typing import Any

from gip_exp import models
from gip_exp.config import Config
from gip_exp.config.learning import LoraTrain
from gip_exp.config.section import content
from gip_exp.errors import UserError
from gip_exp.prompts import Renderer, renderer
from gip_exp.stage import Entries, Job, Stage
from gip_exp.stages.select import read_selected
from gip_exp.store import write_jsonl

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
    from transformers import PrinterCallback
    from trl import SFTTrainer

    train = job.config.train
    assert isinstance(train, LoraTrain)
    place = models.location(job.config, job.inputs)
    tokenizer = models.load_tokenizer(place)
    rows = _rows(job, renderer(job.config.model.prompt, tokenizer))
    _note_truncated(job, rows, tokenizer, train.max_length)
    history: list[dict[str, float]] = []
    total = _steps(train, len(rows))
    with job.console.bar("fine-tuning", total) as bar:
        trainer = SFTTrainer(
            model=models.load_base(place, job.config.model.dtype),
            args=_arguments(job, train, total),
            train_dataset=_dataset(rows),
            processing_class=tokenizer,
            peft_config=_lora(train),
            callbacks=[_reporter(history, bar.update, job.log)],
        )
        trainer.remove_callback(PrinterCallback)
        outcome = trainer.train()
    _check_losses(history)
    trainer.save_model(str(job.folder / ADAPTER))
    write_jsonl(job.folder / LOSSES, list(history))
    job.draft.facts.update(_facts(trainer, outcome, history, total, len(rows)))


def _rows(job: Job, render: Renderer) -> list[dict[str, str]]:
    selected = read_selected(job.inputs)
    if not selected:
        raise UserError(
            "the selection is empty: there is nothing to train on (budget, limit or unscored rows?)"
        )
    return [render.training_row(example) for example in selected]


def _dataset(rows: list[dict[str, str]]) -> Any:
    from datasets import Dataset

    return Dataset.from_list(rows)


def _steps(train: LoraTrain, n_rows: int) -> int:
    if train.steps is not None:
        return train.steps
    assert train.epochs is not None
    return max(1, math.ceil(train.epochs * math.ceil(n_rows / train.batch)))


def _lora(train: LoraTrain) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=train.r,
        lora_alpha=train.alpha,  # type: ignore[arg-type]
        lora_dropout=train.dropout,
        target_modules=train.target_modules,
        task_type="CAUSAL_LM",
    )


def _arguments(job: Job, train: LoraTrain, total: int) -> Any:
    from trl import SFTConfig

    where = models.device(job.config)
    return SFTConfig(
        output_dir=str(job.folder / "checkpoints"),
        max_steps=total,
        per_device_train_batch_size=train.micro_batch,
        gradient_accumulation_steps=train.batch // train.micro_batch,
        learning_rate=train.lr,
        lr_scheduler_type=train.schedule,
        warmup_steps=train.warmup,  # a fraction since transformers 5
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        max_length=train.max_length,
        packing=False,
        completion_only_loss=True,
        gradient_checkpointing=train.gradient_checkpointing,
        bf16=job.config.model.dtype == "bfloat16",
        fp16=job.config.model.dtype == "float16",
        use_cpu=where == "cpu",
        seed=train.seed,
        data_seed=train.seed,
        save_strategy="no",
        report_to="none",
        logging_steps=max(1, total // 50),
        logging_first_step=True,
        disable_tqdm=True,
        dataloader_pin_memory=where == "cuda",
    )


def _note_truncated(job: Job, rows: list[dict[str, str]], tokenizer: Any, max_length: int) -> None:
    lengths = sorted(
        len(ids) for ids in tokenizer([row["prompt"] + row["completion"] for row in rows])["input_ids"]
    )
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


def _reporter(
    history: list[dict[str, float]], update: Callable[..., None], log: Callable[[dict[str, float]], None]
) -> Any:
    """A callback that keeps every logged loss, moves the bar and stops a run whose loss is no number."""
    from transformers import TrainerCallback

    class Reporter(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            update(state.global_step, state.max_steps, f"loss {history[-1]['loss']:.3f}" if history else "")

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
            if not logs or "loss" not in logs:
                return
            row = {
                "step": state.global_step,
                "loss": float(logs["loss"]),
                "lr": float(logs.get("learning_rate", 0)),
            }
            history.append(row)
            if not math.isfinite(row["loss"]):
                control.should_training_stop = True
                return
            log({"train/loss": row["loss"], "train/lr": row["lr"], "train/step": row["step"]})

    return Reporter()


def _check_losses(history: list[dict[str, float]]) -> None:
    bad = next((row for row in history if not math.isfinite(row["loss"])), None)
    if bad is not None:
        raise UserError(f"training diverged: the loss is {bad['loss']} at step {bad['step']}; lower train.lr")


def _facts(
    trainer: Any, outcome: Any, history: list[dict[str, float]], total: int, n_rows: int
) -> dict[str, Any]:
    import torch

    parameters = [p for p in trainer.model.parameters() if p.requires_grad]
    seconds = outcome.metrics["train_runtime"]
    return {
        "steps": total,
        "examples": n_rows,
        "first_loss": history[0]["loss"] if history else None,
        "last_loss": history[-1]["loss"] if history else None,
        "trainable_parameters": sum(p.numel() for p in parameters),
        "train_seconds": round(seconds, 3),
        "examples_per_second": round(outcome.metrics["train_samples_per_second"], 2),
        "peak_gpu_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
    }


STAGE = Stage("train", 1, _inputs, _settings, _build, models.missing, keyed=_keyed)
