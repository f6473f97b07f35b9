"""Build a tiny Qwen3 and train it from scratch for a fixed number of steps.

Steps, never seconds: a time limit under load would change the model and with it every result. The same
arguments on the same machine give the same weights.

Muon (Jordan et al. 2024: momentum, then the nearest orthogonal matrix as the step) trains the matrices inside
the layers, AdamW the embeddings and norms: on the arithmetic corpus AdamW needed 800 steps for the loss that
Muon had after 500. What makes a base steady from seed to seed is that it has learnt to pick numbers out of a
story: three layers and large batches do that early, two layers or small batches by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

OnStep = Callable[[int, int, float], None]
Taught = Callable[[str], Sequence[tuple[int, int]]]
BLOCK = 2000  # documents tokenised at once
PERIODS = 2.0, 3.0, 4.0, 5.0, 7.0, 8.0, 10.0, 11.0, 16.0, 20.0, 25.0, 40.0, 80.0


@dataclass(frozen=True)
class Pretraining:
    """What came of a training run. losses: mean token loss (nats) of each step. tokens: tokens trained on."""

    losses: tuple[float, ...]
    tokens: int


def build_model(
    tokenizer: PreTrainedTokenizerFast,
    *,
    hidden_size: int = 128,
    layers: int = 3,
    heads: int = 4,
    kv_heads: int | None = None,
    feed_forward: int = 344,
    max_length: int = 512,
    seed: int = 0,
) -> Qwen3ForCausalLM:
    """An untrained Qwen3 in float32 with tied embeddings; weights drawn from `seed` alone.

    kv_heads: None gives every head its own keys and values. max_length: positions, in tokens.
    """
    import torch
    from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

    kv_heads = heads if kv_heads is None else kv_heads
    _check_shape(hidden_size, layers, heads, kv_heads)
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=feed_forward,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=hidden_size // heads,
        max_position_embeddings=max_length,
        tie_word_embeddings=True,
        bos_token_id=None,
        **ends,
        initializer_range=0.02,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):  # the caller's random state stays as it was
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(**ends, do_sample=False)
    return model


def pretrain(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    documents: Sequence[str],
    *,
    steps: int,
    batch_size: int = 32,
    length: int = 128,
    lr: float = 3e-3,
    muon_lr: float = 0.02,
    weight_decay: float = 0.05,
    warmup: float = 1 / 6,
    flat: float = 0.3,
    seed: int = 0,
    taught: Taught | None = None,
    on_step: OnStep | None = None,
) -> Pretraining:
    """Train `model` in place on `documents`, packed into rows of `length` tokens with <eos> between them.

    lr: AdamW's peak rate (embeddings, norms); muon_lr: Muon's (matrices of the layers). Both rise linearly
    over the share `warmup` of the steps, stay for the share `flat`, then fall linearly to 0. Rows come in a new
    order each epoch, drawn from `seed`. taught(document): spans of characters that the loss covers; without it, all.
    on_step(step, total, loss) follows every step, counted from 1.
    """
    import torch

    from gip_exp.models.scratch.gradients import Gradients

    rows = pack(tokenizer, documents, length, taught)
    _check_run(steps, batch_size, len(rows))
    batches = _batches(rows, batch_size, torch.Generator().manual_seed(seed))
    optimizers = _optimizers(model, lr, muon_lr, weight_decay)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    peaks = [group["lr"] for group in groups]
    losses: list[float] = []
    with Gradients(model) as gradients:
        for step in range(steps):
            for group, peak in zip(groups, peaks, strict=True):
                group["lr"] = peak * schedule(step, steps, int(steps * warmup), flat)
            batch = next(batches)
            losses.append(gradients.set(batch[:, 0], batch[:, 1]))
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
            if on_step:
                on_step(step + 1, steps, losses[-1])
    model.eval()
    return Pretraining(tuple(losses), tokens=steps * batch_size * length)


def pack(
    tokenizer: PreTrainedTokenizerFast, documents: Sequence[str], length: int, taught: Taught | None = None
) -> torch.Tensor:
    """(rows, 2, length) int64: token ids and labels of the documents in one stream, <eos> after each.

    Labels are the ids, and -100 outside the spans that `taught` names, <eos> included. The rest at the end is dropped.
    """
    import numpy as np
    import torch

    ids: list[int] = []
    starts: list[int] = []  # of the tokens in all documents, each followed by one place for its end mark
    learnt = np.zeros(sum(len(document) + 1 for document in documents), dtype=bool)
    at = 0
    for document, encoding in zip(documents, _encoded(tokenizer, documents), strict=True):
        ids += [*encoding.ids, tokenizer.eos_token_id]
        starts += [*(at + start for start, _ in encoding.offsets), at + len(document)]
        for low, high in taught(document) if taught else [(0, len(document) + 1)]:
            learnt[at + low : at + high] = True
        at += len(document) + 1
    rows = len(ids) // length
    if rows == 0:
        raise ValueError(
            f"the documents have {len(ids)} tokens, fewer than length ({length}): give more text"
        )
    tokens = np.array(ids[: rows * length])
    labels = np.where(learnt[starts[: rows * length]], tokens, -100)
    return torch.from_numpy(np.stack([tokens, labels]).reshape(2, rows, length)).transpose(0, 1).contiguous()


def _encoded(tokenizer: PreTrainedTokenizerFast, documents: Sequence[str]) -> Iterator[Encoding]:
    """The documents' tokens with their places; a block is encoded while the block before it is used."""
    import torch

    backend = tokenizer.backend_tokenizer
    backend.no_padding()  # which an earlier call of the tokenizer may have left on
    backend.no_truncation()
    blocks = [list(documents[start : start + BLOCK]) for start in range(0, len(documents), BLOCK)]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for block in pool.map(backend.encode_batch, blocks):
            yield from block


def number_embeddings(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Start the embeddings of whole numbers from sines and cosines of the number, in half of the dimensions.

    Numbers that are close, or alike modulo a period, start alike: arithmetic is learnt in fewer steps.
    """
    import torch

    weight = model.model.embed_tokens.weight
    count = weight.shape[1] // 4
    periods = torch.tensor(PERIODS).repeat(-(-count // len(PERIODS)))[:count]
    scale = 1.4 * model.config.initializer_range  # sines have a root mean square of 0.7
    with torch.no_grad():
        for token, position in tokenizer.get_vocab().items():
            if token.isascii() and token.isdigit():
                angles = 2 * torch.pi * int(token) / periods
                weight[position, : 2 * count] = scale * torch.cat([angles.sin(), angles.cos()])


def schedule(step: int, steps: int, warmup: int, flat: float) -> float:
    """The share of the peak rate at `step` (from 0)."""
    rise = min(1.0, (step + 1) / max(1, warmup))
    fall = min(1.0, (1 - step / steps) / (1 - flat)) if flat < 1 else 1.0
    return rise * fall


def save(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: str | Path) -> None:
    """Write model and tokenizer as an ordinary model folder."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _batches(rows: torch.Tensor, size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """(size, 2, length) batches without end; an epoch's last incomplete batch is left out."""
    import torch

    while True:
        order = torch.randperm(len(rows), generator=generator)
        for start in range(0, len(rows) - size + 1, size):
            yield rows[order[start : start + size]]


def _optimizers(
    model: Qwen3ForCausalLM, lr: float, muon_lr: float, weight_decay: float
) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the rest (the tied embeddings, the norms)."""
    import torch

    from gip_exp.models.scratch.muon import Muon

    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and ".layers." in name]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return (
        Muon(matrices, lr=muon_lr, weight_decay=weight_decay),
        torch.optim.AdamW(rest, lr=lr, weight_decay=weight_decay, betas=(0.9, 0.98)),
    )


def _check_shape(hidden_size: int, layers: int, heads: int, kv_heads: int) -> None:
    wrong = []
    if layers < 1:
        wrong.append(f"layers is {layers}; give at least 1")
    if heads < 1 or hidden_size % max(heads, 1) or (hidden_size // max(heads, 1)) % 2:
        wrong.append(f"hidden_size {hidden_size} over heads {heads}: a head needs an even whole width")
    if kv_heads < 1 or heads % max(kv_heads, 1):
        wrong.append(f"kv_heads is {kv_heads}; it must divide heads ({heads})")
    if wrong:
        raise ValueError("; ".join(wrong))


def _check_run(steps: int, batch_size: int, rows: int) -> None:
    wrong = [] if steps >= 1 else [f"steps is {steps}; give at least 1"]
    if not 1 <= batch_size <= rows:
        wrong.append(f"batch_size is {batch_size}; the documents fill {rows} rows, give 1 to {rows}")
    if wrong:
        raise ValueError("; ".join(wrong))
