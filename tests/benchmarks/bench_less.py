"""LESS on a small model with GSM8K's lengths against the official way: gradients, projection, both.

Run: GIP_DATA=... python tests/benchmarks/bench_less.py [examples] [cpu]

The official way, as far as it runs on a CPU: one example a backward pass, Adam's correction on the whole
vector, and a dense Rademacher projection to 8,192 dimensions, drawn again block by block, 16 gradients a
pass. "Best" is the same projection with all gradients in one pass. Both are written here from the paper;
neither is the authors' code.
Model: Qwen3, 4 layers, hidden 256, LoRA r 16 on all linear layers, 311,296 LoRA weights, random; tokens are
GSM8K's bytes, cut to the first 190 of a row, the second half trained on.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from scipy.stats import spearmanr
from torch import Tensor, nn
from transformers import Qwen3Config, Qwen3ForCausalLM

from baselines import less
from baselines.less.gradients import collate

DIM, TARGETS = 8192, 32
# "cpu" on the command line: one thread and processor seconds, which other people's work hardly changes.
CPU_TIME = "cpu" in sys.argv
clock = time.process_time if CPU_TIME else time.perf_counter
Example = dict[str, list[int]]


def build_model() -> nn.Module:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=2048,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    model = get_peft_model(
        Qwen3ForCausalLM(config), LoraConfig(r=16, lora_alpha=32, target_modules="all-linear")
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.02)
    return model.eval()


def read_examples(n: int) -> list[Example]:
    data = Path(os.environ.get("GIP_DATA", Path(__file__).parents[2] / "../shared/data"))
    lines = (data / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()[:n]
    rows = []
    for i, row in enumerate(map(json.loads, lines)):
        length = 140 + i * 7 % 101  # 140 to 240, 190 on average
        ids = list((row["question"] + "\n" + row["answer"]).encode())[:length]
        rows.append({"input_ids": ids, "labels": [-100] * (len(ids) // 2) + ids[len(ids) // 2 :]})
    return rows


def one_by_one(model: nn.Module, rows: list[Example], names: list[str]) -> Tensor:
    parameters = dict(model.named_parameters())
    out = []
    for row in rows:
        model.zero_grad(set_to_none=True)
        model(
            input_ids=torch.tensor([row["input_ids"]]), labels=torch.tensor([row["labels"]])
        ).loss.backward()
        out.append(torch.cat([parameters[name].grad.reshape(-1) for name in names]))
    model.zero_grad(set_to_none=True)
    return torch.stack(out)


def dense(gradients: Tensor, seed: int = 0, block: int = 8192) -> Tensor:
    """Rademacher projection whose matrix is drawn block by block."""
    out = torch.zeros(len(gradients), DIM)
    for i, start in enumerate(range(0, gradients.shape[1], block)):
        part = gradients[:, start : start + block]
        generator = torch.Generator().manual_seed(seed * 100_003 + i)
        signs = torch.randint(0, 2, (part.shape[1], DIM), generator=generator, dtype=torch.int8)
        out += part @ signs.float().mul_(2).sub_(1)
    return out / DIM**0.5


def count_sketch(model: nn.Module, gradients: Tensor, names: list[str], seed: int = 0) -> Tensor:
    sketch, out = less.CountSketch(DIM, seed), torch.zeros(len(gradients), DIM)
    sizes = [model.get_parameter(name).numel() for name in names]
    for name, block in zip(names, gradients.split(sizes, dim=1), strict=True):
        sketch.add(out, name, block)
    return out


def seconds(call: Callable[[], object], repeats: int = 1) -> float:
    times = []
    for _ in range(repeats):
        start = clock()
        call()
        times.append(clock() - start)
    return min(times)


def scores(features: Tensor) -> np.ndarray:
    unit = nn.functional.normalize(features, dim=1).double()
    return (unit[TARGETS:] @ unit[:TARGETS].mean(dim=0)).numpy()


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 288
    if CPU_TIME:
        torch.set_num_threads(1)
    model, rows = build_model(), read_examples(n)
    names = less.lora_parameters(model)
    p = sum(model.get_parameter(name).numel() for name in names)
    tokens = np.mean([len(row["input_ids"]) for row in rows])
    print(f"{n} examples of {tokens:.0f} tokens, {p} LoRA weights, {torch.get_num_threads()} threads")

    one_by_one(model, rows[:2], names)
    single = 16 / seconds(lambda: one_by_one(model, rows[:16], names))
    print(f"gradients one by one: {single:.1f} examples/s")
    order = sorted(rows, key=lambda row: len(row["input_ids"]))
    batched = {}
    for size in (4, 8):
        parts = [collate(order[i : i + size]) for i in range(0, 32, size)]
        batched[size] = 32 / seconds(
            lambda parts=parts: [less.per_example_gradients(model, part, names) for part in parts]
        )
        print(f"gradients in batches of {size}: {batched[size]:.1f} examples/s")
    plain = one_by_one(model, rows[:16], names)
    ours = less.per_example_gradients(model, collate(rows[:16]), names)
    print(f"largest relative difference {float(((ours - plain).norm(dim=1) / plain.norm(dim=1)).max()):.1e}")

    gradients = torch.cat(
        [less.per_example_gradients(model, collate(rows[i : i + 8]), names) for i in range(0, n, 8)]
    )
    official = 16 / seconds(lambda: dense(gradients[:16]))
    start = clock()
    projected = dense(gradients)
    best = n / (clock() - start)
    sketch = less.CountSketch(DIM, 0)
    sizes = [model.get_parameter(name).numel() for name in names]

    def project() -> None:
        for i in range(0, n, 8):  # as features are made: a batch at a time
            out = torch.zeros(len(gradients[i : i + 8]), DIM)
            for name, block in zip(names, gradients[i : i + 8].split(sizes, dim=1), strict=True):
                sketch.add(out, name, block)

    project()
    fast = n / seconds(project, 3)
    print(f"dense projection: 16 a pass {official:.1f}, {n} a pass {best:.1f} examples/s")
    print(f"our projection: {fast:.0f} examples/s, ratio to dense at its best {fast / best:.0f}")

    exact = scores(gradients)
    reference = spearmanr(exact, scores(projected)).statistic
    print(f"rank correlation with unprojected influence: dense {reference:.4f}")
    ranks = [spearmanr(exact, scores(count_sketch(model, gradients, names, s))).statistic for s in range(5)]
    print(f"  ours {np.mean(ranks):.4f} over 5 seeds, lowest {min(ranks):.4f}, highest {max(ranks):.4f}")

    with tempfile.TemporaryDirectory() as folder:
        start = clock()
        less.gradient_features(model, rows, folder=folder, dim=DIM)
        end_to_end = n / (clock() - start)

    theirs = 16 / seconds(lambda: nn.functional.normalize(dense(one_by_one(model, rows[:16], names)), dim=1))
    print(f"end to end: official way {theirs:.2f}, ours {end_to_end:.1f} examples/s")
    print(f"end to end ratio {end_to_end / theirs:.1f}")


if __name__ == "__main__":
    main()
