"""Sentence vectors from a transformer (local or hub) or from an OpenAI-compatible embeddings endpoint."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gip_exp.errors import UserError


def encode(
    texts: Sequence[str],
    model: str,
    *,
    pooling: str,
    max_length: int,
    instruction: str = "",
    batch_size: int = 32,
    device: str = "cpu",
    on_batch: Callable[[int], None] = lambda _: None,
) -> np.ndarray:
    """Pooled last hidden states, (n, d) float32, in the order of `texts`.

    `pooling`: `mean` over the tokens (MiniLM, Contriever, hidden states), `last` token (Qwen3-Embedding), `cls` the
    first. Texts are encoded longest first, so that a batch pads little and memory runs out at once or never.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    place = _inside(model)
    tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    network = AutoModel.from_pretrained(place, dtype=dtype, trust_remote_code=False, use_safetensors=True)
    network = network.to(device).eval()
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    vectors: np.ndarray | None = None
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = tokenizer(
                [instruction + texts[i] for i in chosen],
                padding=True,
                truncation=True,
                max_length=max_length,
                return_tensors="pt",
            ).to(device)
            batch.pop("token_type_ids", None)
            hidden = network(**batch).last_hidden_state.float()
            pooled = _pool(hidden, batch["attention_mask"], pooling).cpu().numpy()
            if vectors is None:
                vectors = np.empty((len(texts), pooled.shape[1]), dtype=np.float32)
            vectors[chosen] = pooled
            on_batch(len(chosen))
    assert vectors is not None, "no texts"
    return vectors


def _inside(model: str) -> str:
    """A sentence-transformers folder keeps its transformer at the top or in `0_Transformer`."""
    nested = Path(model) / "0_Transformer"
    return str(nested) if nested.is_dir() else model


def _pool(hidden: Any, mask: Any, pooling: str) -> Any:
    """(b, t, d) and (b, t), right padded -> (b, d)."""
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        return hidden[range(len(hidden)), mask.sum(1) - 1]
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


def missing_key(base_url: str | None) -> list[str]:
    """The API key, if the public endpoint would need one."""
    if base_url is None and not os.environ.get("OPENAI_API_KEY"):
        return [
            "embedder=openai needs OPENAI_API_KEY: export it, give embedder.base_url, or use embedder=tfidf"
        ]
    return []


def encode_remote(
    texts: Sequence[str],
    model: str,
    *,
    base_url: str | None,
    dimensions: int | None,
    batch_size: int,
    on_batch: Callable[[int], None] = lambda _: None,
) -> np.ndarray:
    """(n, d) float32 from an embeddings endpoint; the client retries transport faults itself."""
    import openai

    client = openai.OpenAI(
        api_key=os.environ.get("OPENAI_API_KEY") or "unused", base_url=base_url, max_retries=6, timeout=60
    )
    extra: dict[str, Any] = {} if dimensions is None else {"dimensions": dimensions}
    rows: list[list[float]] = []
    for start in range(0, len(texts), batch_size):
        batch = list(texts[start : start + batch_size])
        try:
            reply = client.embeddings.create(model=model, input=batch, **extra)
        except openai.OpenAIError as error:
            raise UserError(
                f"the embeddings endpoint failed at row {start} ({type(error).__name__}): try again"
            ) from None
        rows.extend(item.embedding for item in sorted(reply.data, key=lambda item: item.index))
        on_batch(len(batch))
    return np.asarray(rows, dtype=np.float32)
