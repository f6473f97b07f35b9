"""Fine-tuning at the default settings on models of Qwen3-8B's and Mistral-7B's shape with random weights, one GPU.

Run on a machine with a GPU of 40 GB or more, from the repository's root:
    python tests/benchmarks/bench_train_gpu.py [--shape qwen3_8b mistral_7b] [--steps 50] [--set micro_batch=8 ...]

Nothing is downloaded: weights are random (speed does not depend on them), so are the token ids, with GSM8K's lengths.
Told for our settings (conf/train/lora.yaml; `--set` changes keys) and for TRL's own defaults with the same LoRA, same
rows and same batch of 32: tokens a second, seconds a step, peak memory, and the share of the GPU's peak arithmetic that
the model's own operations come to (MFU; --peak-tflops gives the peak, in bfloat16, where the GPU is not known here).
The first steps, which warm kernels up, are left out. The mark to pass is 9,100 tokens/s for Qwen3-8B on an H200.
Without a GPU: --device cpu --shape tiny --steps 3 shows that the script works; smollm2_135m is of a size that a processor
trains.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from gip_exp.config.train import LoraTrain
from gip_exp.models.machine import Machine, kernel
from gip_exp.training.finetune import lora_config, trainer_arguments
from gip_exp.training.task import Task

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = 5  # steps
DENSE_PEAK = {
    "H100 80GB HBM3": 989e12,
    "H200": 989e12,
    "A100": 312e12,
    "H100 PCIe": 756e12,
}  # bfloat16, no sparsity
QWEN3 = {"head_dim": 128, "num_key_value_heads": 8, "num_attention_heads": 32, "hidden_size": 4096}
SHAPES: dict[str, dict[str, Any]] = {
    "qwen3_8b": QWEN3 | {"vocab_size": 151_936, "intermediate_size": 12_288, "num_hidden_layers": 36},
    "mistral_7b": QWEN3 | {"vocab_size": 32_000, "intermediate_size": 14_336, "num_hidden_layers": 32},
    "smollm2_135m": {
        "vocab_size": 49_152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
    },
    "tiny": {
        "vocab_size": 1000,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
    },
}


@dataclass(frozen=True)
class Measured:
    tokens: float  # a second, padding left out
    seconds: float  # a step
    memory: float | None  # GiB, peak
    mfu: float | None


def build_model(shape: str, device: str, attention: str | None) -> nn.Module:
    from transformers import MistralConfig, MistralForCausalLM, Qwen3Config, Qwen3ForCausalLM

    sizes = SHAPES[shape] | {"max_position_embeddings": 4096, "tie_word_embeddings": False}
    config, network = (
        (MistralConfig(**sizes, sliding_window=None), MistralForCausalLM)
        if shape.startswith("mistral")
        else (Qwen3Config(**sizes), Qwen3ForCausalLM)
    )
    if attention is not None:
        config._attn_implementation = attention
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16 if device == "cuda" else torch.float32)
    try:
        with torch.device(device):
            return network(config)
    finally:
        torch.set_default_dtype(torch.float32)


def random_rows(n: int, vocabulary: int, low: int, high: int) -> list[dict[str, list[int]]]:
    """Tokenised rows as TRL makes them: a third prompt, two thirds completion."""
    rng = np.random.default_rng(0)
    rows = []
    for length in rng.integers(low, high + 1, size=n):
        ids = rng.integers(10, vocabulary, size=length).tolist()
        rows.append({"input_ids": ids, "labels": [-100] * int(length // 3) + ids[length // 3 :]})
    return rows


def trl_defaults(task: Task) -> Any:
    """TRL's own settings where they differ from ours: what one gets by naming the batch and the rate alone."""
    from trl import SFTConfig

    train = task.train
    return SFTConfig(
        output_dir=str(task.folder),
        max_steps=task.steps,
        gradient_accumulation_steps=train.batch // 8,  # per_device_train_batch_size is 8
        learning_rate=train.lr,
        use_cpu=task.machine.device == "cpu",
        bf16=task.machine.device == "cuda",
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )


def measure(
    make_trainer: Callable[..., Any],
    task: Task,
    shape: str,
    rows: list[dict[str, list[int]]],
    peak: float | None,
) -> Measured:
    """Train for `task.steps` steps and time those after the first SKIPPED."""
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback

    device = task.machine.device
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    model = build_model(shape, device, kernel(task.train, device))
    weights = sum(p.numel() for name, p in model.named_parameters() if "embed_tokens" not in name)
    trainer = make_trainer(
        model=model,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer(),
        peft_config=lora_config(task.train),
    )
    clock: list[tuple[float, float]] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if device == "cuda":
                torch.cuda.synchronize()
            clock.append((time.perf_counter(), trainer._total_train_tokens))

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Clock())
    trainer.train()
    skipped = min(SKIPPED, len(clock) - 2)
    (start, before), (end, after) = clock[skipped], clock[-1]
    per_second = (after - before) / (end - start)
    # Forward 2, backward to the activations 2 operations a weight and token: frozen weights need no gradient.
    mfu = None if peak is None else per_second * 4 * weights / peak
    memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None
    return Measured(per_second, (end - start) / (len(clock) - 1 - skipped), memory, mfu)


def tokenizer() -> Any:
    """Any tokenizer: the rows are tokenised already, only its padding and end tokens are asked for."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1}, unk_token="<eos>"))
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")


def settings(steps: int, changes: list[str]) -> LoraTrain:
    """conf/train/lora.yaml with GSM8K's longest length and `key=value` changes."""
    values = yaml.safe_load((ROOT / "conf" / "train" / "lora.yaml").read_text(encoding="utf-8"))
    values |= {"max_length": 1024, "seed": 0, "epochs": None, "steps": steps}
    values |= {key: yaml.safe_load(value) for key, _, value in (change.partition("=") for change in changes)}
    return LoraTrain(**values)


def main() -> None:
    from trl import SFTTrainer

    from gip_exp.training.trainer import LoraTrainer

    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", nargs="+", default=["qwen3_8b", "mistral_7b"], choices=SHAPES)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--tokens", type=int, nargs=2, default=[100, 350], help="shortest and longest row")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="keys of train")
    parser.add_argument("--peak-tflops", type=float)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no GPU here; try --device cpu --shape tiny --steps 3 to see the script run")
    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    known = next((flops for part, flops in DENSE_PEAK.items() if part in name), None)
    peak = options.peak_tflops * 1e12 if options.peak_tflops else known
    train = settings(options.steps, options.set)
    dtype = "bfloat16" if options.device == "cuda" else "float32"
    print(
        f"{name}; {options.steps} steps of {train.batch} rows of {options.tokens[0]} to {options.tokens[1]} tokens"
    )
    for shape in options.shape:
        rows = random_rows(train.batch * options.steps, SHAPES[shape]["vocab_size"], *options.tokens)
        with tempfile.TemporaryDirectory() as folder:
            task = Task([], train, Machine("", dtype, options.device), Path(folder))
            for title, trainer_class, arguments in (
                ("ours", LoraTrainer, trainer_arguments(task)),
                ("TRL's defaults", SFTTrainer, trl_defaults(task)),
            ):
                arguments.dataset_kwargs = {"skip_prepare_dataset": True}
                try:
                    m = measure(partial(trainer_class, args=arguments), task, shape, rows, peak)
                except torch.OutOfMemoryError:
                    print(f"{shape}, {title}: out of memory")
                    continue
                memory = "" if m.memory is None else f", {m.memory:.1f} GiB"
                share = "" if m.mfu is None else f", {100 * m.mfu:.1f} % of the peak"
                print(f"{shape}, {title}: {m.tokens:,.0f} tokens/s, {m.seconds:.2f} s a step{memory}{share}")


if __name__ == "__main__":
    main()
