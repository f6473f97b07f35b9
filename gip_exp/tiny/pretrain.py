"""Build a tiny Qwen3 and train it from scratch for a fixed number of steps.

Steps, never seconds: a time limit under load would change the model and with it every result. The same
arguments on the same machine give the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

OnStep = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Pretraining:
    """What came of a training run. losses: mean token loss (nats) of each step."""

    losses: tuple[float, ...]
    tokens: int


def build_model(
    tokenizer: PreTrainedTokenizerFast,
    *,
    hidden_size: int = 96,
    layers: int = 3,
    heads: int = 3,
    kv_heads: int | None = None,
    feed_forward: int = 256,
    max_length: int = 1024,
    seed: int = 0,
) -> Qwen3ForCausalLM:
    """An untrained Qwen3 in float32 with tied embeddings; weights drawn from `seed` alone."""
    import torch
    from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

    kv_heads = heads if kv_heads is None else kv_heads
    _check_shape(hidden_size, layers, heads, kv_heads)
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
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        initializer_range=0.02,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):  # the caller's random state stays as it was
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    return model


def pretrain(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    documents: Sequence[str],
    *,
    steps: int,
    batch_size: int = 16,
    length: int = 128,
    lr: float = 3e-3,
    weight_decay: float = 0.05,
    warmup: int = 50,
    flat: float = 0.3,
    optimizer: str = "adamw",
    muon_lr: float = 0.02,
    seed: int = 0,
    on_step: OnStep | None = None,
) -> Pretraining:
    """Train `model` in place on `documents`, packed into rows of `length` tokens with <eos> between them.

    The rate rises linearly over `warmup` steps, stays at `lr` for the share `flat` of the steps, then falls
    linearly to 0. Rows are visited in a new order each epoch, drawn from `seed`. on_step(step, total, loss)
    is called after every step, step counted from 1.
    """
    import torch

    rows = pack(tokenizer, documents, length)
    _check_run(steps, batch_size, len(rows))
    generator = torch.Generator().manual_seed(seed)
    optimizers = _optimizers(model, optimizer, lr, muon_lr, weight_decay)
    peaks = [group["lr"] for opt in optimizers for group in opt.param_groups]
    losses: list[float] = []
    model.train()
    order = torch.empty(0, dtype=torch.long)
    for step in range(steps):
        if len(order) < batch_size:
            order = torch.randperm(len(rows), generator=generator)
        batch, order = rows[order[:batch_size]], order[batch_size:]
        groups = [group for opt in optimizers for group in opt.param_groups]
        for group, peak in zip(groups, peaks, strict=True):
            group["lr"] = peak * schedule(step, steps, warmup, flat)
        loss = _next_token_loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in optimizers:
            opt.step()
            opt.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if on_step:
            on_step(step + 1, steps, losses[-1])
    model.eval()
    return Pretraining(tuple(losses), tokens=steps * batch_size * length)


def pack(tokenizer: PreTrainedTokenizerFast, documents: Sequence[str], length: int) -> torch.Tensor:
    """(rows, length) int64: the documents in one stream, <eos> after each; the rest at the end is dropped."""
    import torch

    stream: list[int] = []
    for ids in tokenizer(list(documents))["input_ids"]:
        stream.extend(ids)
        stream.append(tokenizer.eos_token_id)
    rows = len(stream) // length
    if rows == 0:
        raise ValueError(
            f"the documents have {len(stream)} tokens; one row needs length = {length}: give more text"
        )
    return torch.tensor(stream[: rows * length]).view(rows, length)


def schedule(step: int, steps: int, warmup: int, flat: float) -> float:
    """The share of the peak rate at `step` (from 0)."""
    rise = min(1.0, (step + 1) / max(1, warmup))
    fall = min(1.0, (1 - step / steps) / (1 - flat)) if flat < 1 else 1.0
    return rise * fall


def save(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: str | Path) -> None:
    """Write model and tokenizer as an ordinary model folder."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _optimizers(
    model: Qwen3ForCausalLM, name: str, lr: float, muon_lr: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """AdamW for everything, or Muon for the matrices inside the layers and AdamW for the rest."""
    import torch

    inner = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    if name == "adamw":
        inner = []
    chosen = {id(p) for p in inner}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=lr, weight_decay=weight_decay, betas=(0.9, 0.98))
    ]
    if inner:
        made.append(torch.optim.Muon(inner, lr=muon_lr, weight_decay=weight_decay, momentum=0.95))
    return made


def _next_token_loss(model: Qwen3ForCausalLM, batch: torch.Tensor) -> torch.Tensor:
    import torch

    logits = model(input_ids=batch, use_cache=False).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())


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
