"""LoRA fine-tuning with TRL's SFTTrainer and PEFT, loss on the completions only: for `train` and for LESS's warm-up."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gip_exp import models
from gip_exp.config import Config
from gip_exp.config.learning import LoraTrain
from gip_exp.errors import UserError
from gip_exp.prompts import Renderer
from gip_exp.store import Entry

Figures = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class Machine:
    """Where the model comes from and where it runs."""

    place: str  # the base model's folder
    dtype: str
    device: str


def machine(config: Config, entries: Mapping[str, Entry]) -> Machine:
    """The experiment's base model and device."""
    return Machine(models.location(config, entries), config.model.dtype, models.device(config))


@dataclass
class Finetuned:
    """What a fine-tuning left: the trainer (with the tuned model), the logged losses, the steps done."""

    trainer: Any
    history: list[dict[str, float]]
    steps: int
    metrics: dict[str, float] = field(default_factory=dict)


def steps_per_epoch(train: LoraTrain, n_rows: int) -> int:
    """Optimiser steps that one pass over the rows takes."""
    return math.ceil(n_rows / train.batch)


def total_steps(train: LoraTrain, n_rows: int) -> int:
    """Optimiser steps of the whole run."""
    if train.steps is not None:
        return train.steps
    assert train.epochs is not None
    return max(1, math.ceil(train.epochs * steps_per_epoch(train, n_rows)))


def training_rows(examples: list[dict[str, Any]], render: Renderer) -> list[dict[str, str]]:
    """`{"prompt", "completion"}` for every example. Raises UserError when there is none."""
    if not examples:
        raise UserError(
            "the selection is empty: there is nothing to train on (budget, limit or unscored rows?)"
        )
    return [render.training_row(example) for example in examples]


def finetune(
    rows: list[dict[str, str]],
    train: LoraTrain,
    machine: Machine,
    *,
    folder: Path,
    on_step: Callable[[int, int, str], None] = lambda *_: None,
    log: Figures = lambda _: None,
    save_every: int | None = None,
    on_save: Callable[[Any, Path], None] = lambda *_: None,
) -> Finetuned:
    """Train an adapter on `rows`. With `save_every` steps, checkpoints with optimiser state go below `folder`.

    `on_save(trainer, checkpoint)` follows every save. Raises UserError when the loss is no number.
    """
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import SFTTrainer

    done = Finetuned(None, [], total_steps(train, len(rows)))
    done.trainer = SFTTrainer(
        model=models.load_base(machine.place, machine.dtype),
        args=_arguments(train, machine, folder, done.steps, save_every),
        train_dataset=Dataset.from_list(rows),
        processing_class=models.load_tokenizer(machine.place),
        peft_config=_lora(train),
    )
    done.trainer.remove_callback(PrinterCallback)
    done.trainer.add_callback(_reporter(done, on_step, log, on_save))
    done.metrics = dict(done.trainer.train().metrics)
    _check_losses(done.history)
    return done


def _lora(train: LoraTrain) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=train.r,
        lora_alpha=train.alpha,  # type: ignore[arg-type]
        lora_dropout=train.dropout,
        target_modules=train.target_modules,
        task_type="CAUSAL_LM",
    )


def _arguments(train: LoraTrain, machine: Machine, folder: Path, total: int, save_every: int | None) -> Any:
    from trl import SFTConfig

    return SFTConfig(
        output_dir=str(folder),
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
        bf16=machine.dtype == "bfloat16",
        fp16=machine.dtype == "float16",
        use_cpu=machine.device == "cpu",
        seed=train.seed,
        data_seed=train.seed,
        save_strategy="steps" if save_every else "no",
        save_steps=save_every or 500,
        report_to="none",
        # LESS weighs checkpoints by the learning rates of their steps, so with checkpoints all steps are logged.
        logging_steps=1 if save_every else max(1, total // 50),
        logging_first_step=True,
        disable_tqdm=True,
        dataloader_pin_memory=machine.device == "cuda",
    )


def _reporter(
    done: Finetuned,
    on_step: Callable[[int, int, str], None],
    log: Figures,
    on_save: Callable[[Any, Path], None],
) -> Any:
    """A callback that keeps every logged loss, moves the bar and stops a run whose loss is no number."""
    from transformers import TrainerCallback

    class Reporter(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            loss = f"loss {done.history[-1]['loss']:.3f}" if done.history else ""
            on_step(state.global_step, state.max_steps, loss)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
            if not logs or "loss" not in logs:
                return
            row = {
                "step": state.global_step,
                "loss": float(logs["loss"]),
                "lr": float(logs.get("learning_rate", 0)),
            }
            done.history.append(row)
            if not math.isfinite(row["loss"]):
                control.should_training_stop = True
                return
            log({"train/loss": row["loss"], "train/lr": row["lr"], "train/step": row["step"]})

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            on_save(done.trainer, Path(args.output_dir) / f"checkpoint-{state.global_step}")

    return Reporter()


def _check_losses(history: list[dict[str, float]]) -> None:
    bad = next((row for row in history if not math.isfinite(row["loss"])), None)
    if bad is not None:
        raise UserError(f"training diverged: the loss is {bad['loss']} at step {bad['step']}; lower train.lr")
