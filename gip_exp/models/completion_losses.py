"""Mean loss of a completion under a causal language model, with and without its prompt."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from gip_exp.models import loading
from gip_exp.models.shards import Encoder


def loss_encoder(model: str, *, max_length: int, dtype: str, batch_size: int, device: str) -> Encoder:
    """Return a function from rows, as JSON texts `[prompt, completion]`, to their mean losses (n, 2) float32.

    The columns are nats per token of the completion after the prompt (and a newline), and alone. Both leave out the first
    token, which nothing precedes in the second. A row is NaN if no other token is left within the maximum length.

    Args:
        model: Folder of the model.
        max_length: Maximum tokens; the end of longer texts is cut off.
        dtype: Precision of the model.
        batch_size: Sequences per batch.
        device: Torch device.
    """
    tokenizer = loading.load_tokenizer(model)
    network = loading.load_base(model, dtype).to(device).eval()

    def encode(texts: Sequence[str]) -> np.ndarray:
        pairs = [json.loads(text) for text in texts]
        prompts = [tokenizer(f"{prompt}\n")["input_ids"] for prompt, _ in pairs]
        completions = [tokenizer(text, add_special_tokens=False)["input_ids"] for _, text in pairs]
        given = [(p + c, len(p)) for p, c in zip(prompts, completions, strict=True)]
        return _both(network, given, max_length=max_length, batch_size=batch_size)

    return encode


def tuned_loss_encoder(model: str, adapter: str, *, dtype: str, batch_size: int, device: str) -> Encoder:
    """Return the same function for a tuned model, from rows as JSON texts `[token ids, start of the completion]`.

    Args:
        model: Folder of the base model.
        adapter: Folder of its adapter.
        dtype: Precision of the model.
        batch_size: Sequences per batch.
        device: Torch device.
    """
    from peft import PeftModel

    network = PeftModel.from_pretrained(loading.load_base(model, dtype), adapter).to(device).eval()

    def encode(texts: Sequence[str]) -> np.ndarray:
        given = [(ids, start) for ids, start in map(json.loads, texts)]
        return _both(
            network, given, max_length=max((len(ids) for ids, _ in given), default=0), batch_size=batch_size
        )

    return encode


def _both(
    network: Any, given: Sequence[tuple[list[int], int]], *, max_length: int, batch_size: int
) -> np.ndarray:
    """Return the mean losses (n, 2) of completions, which start at a position of their rows, after the prompt and alone."""
    import torch

    found = np.empty((len(given), 2), dtype=np.float32)
    with torch.inference_mode():
        for column, rows in enumerate((given, [(ids[start:], 0) for ids, start in given])):
            cut = [(ids[:max_length], start) for ids, start in rows]
            for at in range(0, len(cut), batch_size):
                found[at : at + batch_size, column] = _means(network, cut[at : at + batch_size])
    found[np.isnan(found).any(axis=1)] = np.nan
    return found


def _means(network: Any, rows: Sequence[tuple[list[int], int]]) -> list[float]:
    """Return the mean loss of the tokens after the first one of each completion, which begins at the given position."""
    import torch

    starts = [start for ids, start in rows if start + 1 < len(ids)]
    if not starts:
        return [np.nan] * len(rows)
    width, first = max(len(ids) for ids, _ in rows), min(starts)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, (tokens, _) in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.long)
        mask[row, : len(tokens)] = 1
    ids, mask = ids.to(network.device), mask.to(network.device)
    # Logits over a large vocabulary cost much: compute none before the first completion.
    logits = network(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=width - first).logits
    means = []
    for row, (tokens, start) in enumerate(rows):
        targets = ids[row, start + 1 : len(tokens)]
        predicted = logits[row, start - first : len(tokens) - 1 - first].float()
        means.append(float(torch.nn.functional.cross_entropy(predicted, targets)) if len(targets) else np.nan)
    return means
