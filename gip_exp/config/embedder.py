"""How rows become vectors (`embedder=`)."""

from typing import Annotated, Literal

from pydantic import Field

from gip_exp.config.base import NEUTRAL, Positive, Section, Seed, Url


class TfidfEmbedder(Section):
    """TF-IDF over words, numbers and punctuation, reduced by truncated SVD (no model needed)."""

    kind: Literal["tfidf"]
    name: str
    dimensions: Positive
    ngrams: Positive
    min_count: Positive
    seed: Seed = 0


class TransformerEmbedder(Section):
    """A transformer encoder: hidden states pooled over the text. `model` null is the model of the experiment."""

    kind: Literal["transformer"]
    name: str
    model: str | None
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"]  # of the network; the vectors are float32
    pooling: Literal["mean", "last", "cls"]
    max_length: Positive
    instruction: str = ""
    batch_size: Annotated[Positive, NEUTRAL] = 32


class OpenAIEmbedder(Section):
    """Embeddings from an OpenAI-compatible endpoint."""

    kind: Literal["openai"]
    name: str
    model: str
    base_url: Annotated[Url | None, NEUTRAL] = None
    dimensions: Positive | None = None
    batch_size: Annotated[Positive, NEUTRAL] = 128


Embedder = Annotated[TfidfEmbedder | TransformerEmbedder | OpenAIEmbedder, Field(discriminator="kind")]
