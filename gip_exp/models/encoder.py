"""Text embeddings by a transformer (local or from the hub) or by an OpenAI-compatible endpoint."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gip_exp.errors import UserError
from gip_exp.models import hub
from gip_exp.storage.files import write_array

SHARD = 1024  # rows per file, so at most this many are lost when a run is killed
OnRows = Callable[[int, bool], None]
Encoder = Callable[[Sequence[str]], np.ndarray]  # texts -> (n, d) float32


def encode_in_shards(
    texts: Sequence[str], make: Callable[[], Encoder], folder: Path, on_shard: OnRows = lambda *_: None
) -> np.ndarray:
    """Encode texts, keeping finished shards in files.

    Texts are encoded longest first, so that batches need little padding and an out-of-memory error shows in the first
    batch.

    Args:
        texts: n texts.
        make: Loads the encoder; called only if a shard is missing.
        folder: Folder of the shards.
        on_shard: Called with (rows, whether it existed) after every shard.

    Returns:
        (n, d) float32, in the order of the texts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    encoder: Encoder | None = None
    vectors: np.ndarray | None = None
    for start in range(0, len(order), SHARD):
        chosen = order[start : start + SHARD]
        path = folder / f"{start:09d}.npy"
        shard = _read_shard(path, len(chosen))
        kept = shard is not None
        if shard is None:
            encoder = encoder or make()
            shard = encoder([texts[i] for i in chosen])
            write_array(path, shard)
        if vectors is None:
            vectors = np.empty((len(texts), shard.shape[1]), dtype=np.float32)
        vectors[chosen] = shard
        on_shard(len(chosen), kept)
    assert vectors is not None, "no texts"
    return vectors


def _read_shard(path: Path, rows: int) -> np.ndarray | None:
    """Read a shard; None if it does not exist or is incomplete."""
    try:
        shard = np.load(path, allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return shard if shard.ndim == 2 and len(shard) == rows else None


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
            the first token.
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
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


def missing_key(base_url: str | None) -> list[str]:
    """Return a problem if the public endpoint's API key is missing, or the given endpoint does not answer."""
    if base_url is not None:
        return hub.missing_server("embedder.base_url", base_url)
    if not os.environ.get("OPENAI_API_KEY"):
        return [
            "embedder=openai needs OPENAI_API_KEY: export it, give embedder.base_url, or use embedder=tfidf"
        ]
    return []


def remote_encoder(model: str, *, base_url: str | None, dimensions: int | None, batch_size: int) -> Encoder:
    """Return an encoder by an OpenAI-compatible embeddings endpoint; the client retries failed requests."""
    import openai

    client = openai.OpenAI(
        api_key=os.environ.get("OPENAI_API_KEY") or "unused", base_url=base_url, max_retries=6, timeout=60
    )
    extra: dict[str, Any] = {} if dimensions is None else {"dimensions": dimensions}

    def encode(texts: Sequence[str]) -> np.ndarray:
        rows: list[list[float]] = []
        for start in range(0, len(texts), batch_size):
            batch = list(texts[start : start + batch_size])
            try:
                reply = client.embeddings.create(model=model, input=batch, **extra)
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
            rows.extend(item.embedding for item in sorted(reply.data, key=lambda item: item.index))
        return np.asarray(rows, dtype=np.float32)

    return encode
