"""Text embeddings by a transformer (local or from the hub) or by an OpenAI-compatible endpoint."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from gip_exp.errors import UserError
from gip_exp.models import hub
from gip_exp.models.shards import Encoder


def transformer_encoder(
    model: str,
    *,
    pooling: str,
    max_length: int,
    dtype: str,
    instruction: str = "",
    batch_size: int = 32,
    device: str = "cpu",
) -> Encoder:
    """Return an encoder by pooled last hidden states. No remote code is run; weights come from safetensors only.

    Args:
        model: Folder or hub id of a transformer.
        pooling: `mean` over the tokens (MiniLM, Contriever, hidden states), `last` token (Qwen3-Embedding) or `cls`,
            the first token, or `weighted`: the mean in which token i of T counts i (RDS+, arXiv 2503.01807).
        max_length: Maximum tokens per text; longer texts are truncated.
        dtype: Precision of the network; vectors are float32.
        instruction: Prefix of every text.
        batch_size: Texts per batch.
        device: Torch device.
    """
    import torch

    tokenizer, network = _load(_inside(model), dtype)
    network = network.to(device).eval()

    def batch_vectors(texts: Sequence[str]) -> np.ndarray:
        batch = tokenizer(
            [instruction + text for text in texts],
            padding=True,
            truncation=True,
            max_length=max_length,
            return_tensors="pt",
        ).to(device)
        batch.pop("token_type_ids", None)
        hidden = network(**batch).last_hidden_state.float()
        return _pool(hidden, batch["attention_mask"], pooling).cpu().numpy()

    def encode(texts: Sequence[str]) -> np.ndarray:
        with torch.inference_mode():
            return np.concatenate(
                [batch_vectors(texts[i : i + batch_size]) for i in range(0, len(texts), batch_size)]
            )

    return encode


def _load(place: str, dtype: str) -> tuple[Any, Any]:
    """Return (tokenizer that pads on the right, network)."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    network = AutoModel.from_pretrained(
        place, dtype=getattr(torch, dtype), trust_remote_code=False, use_safetensors=True
    )
    return tokenizer, network


def _inside(model: str) -> str:
    """Return the folder of the transformer in a sentence-transformers folder: the folder itself or `0_Transformer`."""
    nested = Path(model) / "0_Transformer"
    return str(nested) if nested.is_dir() else model


def _pool(hidden: Any, mask: Any, pooling: str) -> Any:
    """Pool hidden states (b, t, d) with mask (b, t), padded on the right, to (b, d)."""
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        return hidden[range(len(hidden)), mask.sum(1) - 1]
    counts = mask.cumsum(1) * mask if pooling == "weighted" else mask
    weights = counts.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


def missing_key(base_url: str | None) -> list[str]:
    """Return a problem if the public endpoint's API key is missing, or the given endpoint does not answer."""
    if base_url is not None:
        return hub.missing_server("embedder.base_url", base_url)
    if os.environ.get("OPENAI_BASE_URL", "").strip():
        return [
            "OPENAI_BASE_URL is set, but which server embeds must be in the config: give embedder.base_url, or unset "
            "OPENAI_BASE_URL"
        ]
    if not os.environ.get("OPENAI_API_KEY"):
        return [
            "embedder=openai needs OPENAI_API_KEY: export it, give embedder.base_url, or use embedder=tfidf"
        ]
    return []


def remote_encoder(
    model: str,
    *,
    base_url: str | None,
    dimensions: int | None,
    batch_size: int,
    concurrency: int = 1,
    own_key: str | None = None,
    instruction: str = "",
    extra_body: Mapping[str, Any] | None = None,
) -> Encoder:
    """Return an encoder by an OpenAI-compatible embeddings endpoint; the client retries failed requests.

    Args:
        model: Name that the endpoint serves.
        base_url: Its address; None for OpenAI's.
        dimensions: Length of the vectors to ask for; None for the model's own.
        batch_size: Texts per request.
        concurrency: Requests at a time.
        own_key: Key of a server of this process, which no proxy can reach; by default OPENAI_API_KEY.
        instruction: Prefix of every text.
        extra_body: Further fields of each request.
    """
    import openai

    client = openai.OpenAI(
        api_key=own_key or os.environ.get("OPENAI_API_KEY") or "unused",
        base_url=base_url,
        max_retries=6,
        timeout=60,
        http_client=openai.DefaultHttpxClient(trust_env=False) if own_key else None,
    )
    extra: dict[str, Any] = {} if dimensions is None else {"dimensions": dimensions}

    def batch_vectors(batch: Sequence[str]) -> np.ndarray:
        try:
            reply = client.embeddings.create(
                model=model, input=[instruction + text for text in batch], extra_body=extra_body, **extra
            )
        except openai.OpenAIError as error:
            raise UserError(
                f"the embeddings endpoint failed ({type(error).__name__}): finished shards are kept, run the same "
                "command again"
            ) from None
        if len(reply.data) != len(batch):
            raise UserError(
                f"the embeddings endpoint returned {len(reply.data)} vectors for {len(batch)} texts: check "
                "embedder.base_url and embedder.model"
            )
        rows = [item.embedding for item in sorted(reply.data, key=lambda item: item.index)]
        return np.asarray(rows, dtype=np.float32)

    def encode(texts: Sequence[str]) -> np.ndarray:
        requests = ThreadPoolExecutor(concurrency)
        batches = [texts[start : start + batch_size] for start in range(0, len(texts), batch_size)]
        try:
            return np.concatenate(list(requests.map(batch_vectors, batches)))
        finally:
            requests.shutdown(cancel_futures=True)

    return encode
