"""LESS on a model of Qwen3-8B's shape with random weights, one GPU: examples/s, peak memory, hours to expect.

Run on a machine with a GPU of 40 GB or more, from the repository's root:
    python tests/benchmarks/bench_less_gpu.py [--layers 36] [--rank 128] [--batch-tokens 1 512 2048 4096] [--tokens 190]

Nothing is downloaded: weights are random (speed does not depend on them) and so are token ids. LoRA as in
the paper (r 128 on q/k/v/o); features are Adam-corrected and projected to 8,192 dimensions, the dear case.
Compared in the same run with one example a backward pass (1 token). On a machine without a GPU it says so and stops,
unless --device cpu with few --layers is asked for, to try the script out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import Qwen3Config, Qwen3ForCausalLM

from baselines import less

DIM = 8192
# rows of the pool, mean tokens a row with Qwen3's tokenizer (rough: 4 characters a token), checkpoints
POOLS = {"GSM8K": (7473, 140, 4), "Alpaca": (52002, 90, 4)}
Example = dict[str, list[int]]


def build_model(layers: int, rank: int, device: str) -> nn.Module:
    config = Qwen3Config(
        vocab_size=151_936,
        hidden_size=4096,
        intermediate_size=12_288,
        num_hidden_layers=layers,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            base = Qwen3ForCausalLM(config)
    finally:
        torch.set_default_dtype(dtype)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
    model = get_peft_model(base, LoraConfig(r=rank, lora_alpha=4 * rank, target_modules=targets))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.01)
    return model.to(device).eval()


def random_state(model: nn.Module) -> less.AdamState:
    """Moments of a plausible size, on the model's device."""
    names = less.lora_parameters(model)
    first = {name: torch.randn_like(model.get_parameter(name), dtype=torch.float32) * 1e-4 for name in names}
    second = {name: torch.rand_like(model.get_parameter(name), dtype=torch.float32) * 1e-7 for name in names}
    return less.AdamState(first, second)


def random_examples(n: int, tokens: int) -> list[Example]:
    rng = np.random.default_rng(0)
    rows = []
    for length in rng.integers(int(tokens * 0.6), int(tokens * 1.4) + 1, size=n):
        ids = rng.integers(0, 151_000, size=length).tolist()
        rows.append({"input_ids": ids, "labels": [-100] * int(length // 2) + ids[length // 2 :]})
    return rows


def measure(model: nn.Module, rows: list[Example], state: less.AdamState, tokens: int) -> tuple[float, float]:
    """Examples a second and peak memory (GiB).

    Timed as the difference between all rows and a third of them, which leaves out what a call does once:
    drawing the projection's signs, reading the adapter's state, warming up kernels.
    """
    cuda = next(model.parameters()).is_cuda
    options = {"adam": state, "dim": DIM, "batch_tokens": tokens}
    times = []
    with tempfile.TemporaryDirectory() as folder:
        for part in (rows[: len(rows) // 3], rows[: len(rows) // 3], rows):
            if cuda:
                torch.cuda.reset_peak_memory_stats()
            start = time.perf_counter()
            less.gradient_features(model, part, folder=f"{folder}/{len(times)}", **options)
            times.append(time.perf_counter() - start)  # features arrive on the CPU, so the device is done
    memory = torch.cuda.max_memory_allocated() / 2**30 if cuda else float("nan")
    return (len(rows) - len(rows) // 3) / (times[2] - times[1]), memory


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", type=int, default=36)
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=190)
    parser.add_argument("--examples", type=int, default=96)
    parser.add_argument("--batch-tokens", type=int, nargs="+", default=[1, 512, 1024, 2048, 4096, 8192])
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit(
            "no GPU here; try --device cpu --layers 1 --examples 6 --batch-tokens 1 1024 to see the script run"
        )
    model = build_model(options.layers, options.rank, options.device)
    names = less.lora_parameters(model)
    p = sum(model.get_parameter(name).numel() for name in names)
    total = sum(parameter.numel() for parameter in model.parameters())
    device = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    scale = f"{total / 1e9:.2f}e9 weights, {p / 1e6:.1f}e6 of them LoRA"
    print(f"{device}: {scale}, about {options.tokens} tokens a row")
    state, rows = random_state(model), random_examples(options.examples, options.tokens)
    speeds = {}
    for tokens in options.batch_tokens:
        try:
            speeds[tokens], memory = measure(model, rows, state, tokens)
        except torch.cuda.OutOfMemoryError:
            print(f"{tokens} tokens a pass: out of memory")
            break
        print(f"{tokens} tokens a pass: {speeds[tokens]:.2f} examples/s, peak {memory:.1f} GiB")
    best = max(speeds, key=lambda tokens: speeds[tokens])
    if 1 in speeds:
        print(f"{best} tokens a pass over one example at a time: {speeds[best] / speeds[1]:.1f}")
    for pool, (n, tokens, checkpoints) in POOLS.items():
        hours = n * checkpoints / speeds[best] / 3600 * tokens / options.tokens
        print(f"{pool}: {hours:.2f} GPU hours for {checkpoints} checkpoints (scaled by tokens)")


if __name__ == "__main__":
    main()
