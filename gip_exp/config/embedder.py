"""How rows become vectors (`embedder=`)."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from gip_exp.config.base import NEUTRAL, Positive, Section, Url
from gip_exp.registry.functions import EMBEDDERS


class EmbedderSection(Section):
    """Fields of every embedder: its kind (the function or type of model), and its name in reports."""

    kind: str
    name: str


class TransformerEmbedder(EmbedderSection):
    """A transformer encoder with pooled hidden states. `model=null` is the model of the experiment."""

    kind: Literal["transformer"]
    model: str | None
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"]  # of the network; the vectors are float32
    pooling: Literal["mean", "last", "cls"]
    max_length: Positive
    instruction: str = ""
    batch_size: Annotated[Positive, NEUTRAL] = 32


class OpenAIEmbedder(EmbedderSection):
    """Embeddings from an OpenAI-compatible endpoint."""

    kind: Literal["openai"]
    model: str
    base_url: Annotated[Url | None, NEUTRAL] = None
    dimensions: Positive | None = None
    batch_size: Annotated[Positive, NEUTRAL] = 128


if TYPE_CHECKING:
    Embedder = EmbedderSection
else:
    _KINDS = [*EMBEDDERS.sections(EmbedderSection), TransformerEmbedder, OpenAIEmbedder]
    Embedder = Annotated[reduce(or_, _KINDS), Field(discriminator="kind")]
