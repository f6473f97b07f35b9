"""LoRA fine-tuning with TRL's SFTTrainer and PEFT, for `train` and for the warm-up of LESS.

A killed run resumes from its last checkpoint and gives the same weights: a checkpoint holds the adapter, the optimiser
and all random states. With `train.processes` above 1, the same code runs in several processes that share every batch
(`torchrun.py`).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gip_exp.config.train import LoraTrain
from gip_exp.errors import UserError
from gip_exp.models import loading
from gip_exp.models.machine import kernel
from gip_exp.storage.manifest import peak_memory, versions
from gip_exp.training import checkpoints
from gip_exp.training.losses import History, check_fall, check_finite, from_log
from gip_exp.training.task import Figures, Finetuned, Task, as_json, from_json, steps_per_epoch, total_steps
from gip_exp.training.torchrun import Event, run_in_processes


def finetune(
    task: Task,
    *,
    on_step: Callable[[int, int, str], None] = lambda *_: None,
    log: Figures = lambda _: None,
    note: Callable[[str], None] = lambda _: None,
) -> Finetuned:
    """Train an adapter.

    Args:
        task: What to train.
        on_step: Called with (step, total steps, note) after every step.
        log: Called with live metrics.
        note: Called with a doubt about the result, if any.

    Raises:
        UserError: the loss is not finite or clearly does not decrease, or memory runs out.
    """
    run = train_process if task.train.processes == 1 else _in_processes
    done = run(task, on_step=on_step, log=log)
    if task.train.require_loss_fall and (doubt := check_fall(done.history)):
        note(doubt)
    return done


def _in_processes(task: Task, *, on_step: Callable[[int, int, str], None], log: Figures) -> Finetuned:
    """Run `train_process` in `train.processes` processes. Raises RuntimeError if one of them dies."""

    def report(event: Mapping[str, Any]) -> None:
        if "step" in event:
            on_step(event["step"], event["total"], event["note"])
        else:
            log(dict(event))

    outcome = run_in_processes(
        _train_rank, as_json(task), processes=task.train.processes, folder=task.folder, report=report
    )
    return Finetuned(outcome["history"], outcome["figures"])


def _train_rank(values: Mapping[str, Any], report: Event) -> Any:
    done = train_process(
        from_json(values),
        on_step=lambda step, total, note: report({"step": step, "total": total, "note": note}),
        log=report,
    )
    return asdict(done)


def train_process(task: Task, *, on_step: Callable[[int, int, str], None], log: Figures) -> Finetuned:
    """Run this process's part of the training: all of it, or one rank."""
    import torch

    trainer = make_trainer(task)
    with trainer.accelerator.main_process_first():  # the main process removes unusable checkpoints for all
        start = checkpoints.resumable(task.folder, _conditions(task)) if task.save_every else None
    history: History = from_log(_log_of(start)) if start else []
    trainer.add_callback(_reporter(task, trainer, history, on_step, log))
    try:
        cost = _train(trainer, start)
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"training ran out of GPU memory: lower train.micro_batch={task.train.micro_batch} (the batch stays "
            f"the same) or set train.gradient_checkpointing=true ({str(error).splitlines()[0]})"
        ) from None
    _check(task, trainer, history)
    if task.adapter is not None:
        trainer.save_model(str(task.adapter))
    trainable = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    return Finetuned(history, {"trainable_parameters": trainable, **cost})


def _train(trainer: Any, start: Path | None) -> dict[str, float | None]:
    """Train from the checkpoint `start`, or from the beginning; return time, tokens and memory."""
    import torch

    from gip_exp.training.sharing import filling_seen

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    seconds = tokens = 0.0
    if start is not None and checkpoints.step(start) >= trainer.args.max_steps:
        _load(trainer.model, start)  # the trainer would do another step
    else:
        seconds = trainer.train(resume_from_checkpoint=str(start) if start else None).metrics["train_runtime"]
        # A resumed trainer counts from 0 again, after the entries of earlier processes.
        counts = [entry["num_tokens"] for entry in trainer.state.log_history if "num_tokens" in entry]
        tokens = counts[-1] if counts else 0.0
        tokens -= filling_seen(trainer, checkpoints.step(start) if start else 0, trainer.state.global_step)
    return {
        "seconds": round(seconds, 3),
        "tokens": tokens,
        "tokens_per_second": round(tokens / seconds, 1) if seconds else None,
        "peak_memory_bytes": peak_memory(),
        "peak_gpu_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
    }


def _check(task: Task, trainer: Any, history: History) -> None:
    """Raise UserError, after removing the checkpoints, if losses or weights are not finite."""
    try:
        check_finite(history)
        if not all(p.isfinite().all() for p in trainer.model.parameters() if p.requires_grad):
            raise UserError("training diverged: the adapter's weights are not finite; lower train.lr")
    except UserError:
        trainer.accelerator.wait_for_everyone()
        if trainer.is_world_process_zero():
            checkpoints.clear(task.folder)
        raise


def _load(model: Any, checkpoint: Path) -> None:
    from peft import load_peft_weights, set_peft_model_state_dict

    set_peft_model_state_dict(model, load_peft_weights(str(checkpoint), device=str(model.device)))


def _log_of(checkpoint: Path) -> list[dict[str, float]]:
    from transformers import TrainerState

    return TrainerState.load_from_json(str(checkpoint / "trainer_state.json")).log_history


def _conditions(task: Task) -> dict[str, Any]:
    """Return the conditions under which a checkpoint can be resumed, besides those in the stage's key."""
    train = task.train
    return {
        "processes": train.processes,
        "micro_batch": train.micro_batch,
        "device": task.machine.device,
        "versions": versions(),
    }


def make_trainer(task: Task) -> Any:
    """Return TRL's trainer with an adapter, for tokenised and truncated rows, which it packs if configured."""
    from datasets import Dataset
    from transformers import PrinterCallback

    from gip_exp.training.trainer import LoraTrainer

    place, train = task.machine.place, task.train
    trainer: Any = LoraTrainer(
        model=_model(task),
        args=trainer_arguments(task),
        train_dataset=Dataset.from_list(task.rows),
        processing_class=loading.load_tokenizer(place),
        peft_config=lora_config(train) if task.start is None else None,
    )
    # transformers counts the tokens of a whole batch only for models whose own loss takes the count (not Gemma 4's).
    # TRL computes the loss itself and takes it for all; without it, the result would depend on train.micro_batch.
    trainer.model_accepts_loss_kwargs = True
    trainer.remove_callback(PrinterCallback)
    rows = trainer.n_rows  # fewer than task.rows with packing
    trainer.args.max_steps = total_steps(train, rows)
    if task.save_every == "epoch":
        trainer.args.save_steps = steps_per_epoch(train, rows)
    return trainer


def _model(task: Task) -> Any:
    """Return the base model, with the adapter that the training goes on from, if any."""
    base = loading.load_base(
        task.machine.place, task.machine.dtype, attention=kernel(task.train, task.machine.device)
    )
    if task.start is None:
        return base
    from peft import PeftModel

    return PeftModel.from_pretrained(base, task.start, is_trainable=True)


def lora_config(train: LoraTrain) -> Any:
    """Return PEFT's configuration of the adapter."""
    from peft import LoraConfig

    return LoraConfig(
        r=train.r,
        lora_alpha=train.alpha,  # type: ignore[arg-type]
        lora_dropout=train.dropout,
        target_modules=train.target_modules,
        task_type="CAUSAL_LM",
    )


def trainer_arguments(task: Task) -> Any:
    """Return TRL's configuration of the training."""
    from trl import SFTConfig

    train, machine = task.train, task.machine
    arguments = SFTConfig(
        output_dir=str(task.folder),
        max_steps=task.steps,  # updated by make_trainer after packing
        per_device_train_batch_size=train.micro_batch,
        gradient_accumulation_steps=train.batch // (train.micro_batch * train.processes),
        learning_rate=train.lr,
        lr_scheduler_type=train.schedule,
        warmup_steps=train.warmup,  # a fraction since transformers 5
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        max_length=train.max_length,
        packing=train.packing,
        gradient_checkpointing=train.gradient_checkpointing,
        bf16=machine.dtype == "bfloat16",
        fp16=machine.dtype == "float16",
        use_cpu=machine.device == "cpu",
        ddp_backend="gloo" if machine.device == "cpu" and train.processes > 1 else None,
        ddp_find_unused_parameters=False if train.processes > 1 else None,
        seed=train.seed,
        data_seed=train.seed,
        save_strategy="steps" if task.save_every else "no",
        save_steps=task.save_every if isinstance(task.save_every, int) else 500,
        report_to="none",
        # Every step: LESS weights checkpoints by the learning rates of their steps.
        logging_steps=1,
        logging_nan_inf_filter=False,  # report NaN instead of the mean of earlier losses
        disable_tqdm=True,
        dataloader_pin_memory=machine.device == "cuda",
    )
    if train.processes == 1 and arguments.n_gpu > 1:
        arguments._n_gpu = 1  # otherwise nn.DataParallel over all visible GPUs, which TRL refuses
    return arguments


def _reporter(
    task: Task, trainer: Any, history: History, on_step: Callable[[int, int, str], None], log: Figures
) -> Any:
    """Return a callback that records losses, reports progress, marks checkpoints and stops at a non-finite loss."""
    from transformers import TrainerCallback

    class Reporter(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
            for row in from_log([{**(logs or {}), "step": state.global_step}]):
                history.append(row)
                on_step(state.global_step, state.max_steps, f"loss {row['loss']:.3f}")
                if not math.isfinite(row["loss"]):
                    control.should_training_stop = True
                    return
                log({"train/loss": row["loss"], "train/lr": row["lr"], "train/step": row["step"]})

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            trainer.accelerator.wait_for_everyone()
            if not state.is_world_process_zero:
                return
            checkpoint = task.folder / f"checkpoint-{state.global_step}"
            if task.on_save is not None:
                task.on_save(trainer, checkpoint)
            checkpoints.mark_complete(checkpoint)
            if not task.keep_all:
                checkpoints.keep_only(checkpoint)

    return Reporter()
