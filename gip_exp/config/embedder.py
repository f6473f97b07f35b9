"""How rows become vectors (`embedder=`)."""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, create_model

from gip_exp.config.base import NEUTRAL, Positive, Section, Url
from gip_exp.registry import embedders


class EmbedderSection(Section):
    """What every embedder has: its kind (which function or model), and its name in reports."""

    kind: str
    name: str


class TransformerEmbedder(EmbedderSection):
    """A transformer encoder: hidden states pooled over the text. `model` null is the model of the experiment."""

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


def _section(kind: str) -> type[EmbedderSection]:
    """The options of an embedder that is one function."""
    fields: dict[str, Any] = {"kind": (Literal[kind], ...), **embedders.signature(kind)[1]}
    section: type[EmbedderSection] = create_model(f"{kind}Embedder", __base__=EmbedderSection, **fields)
    return section


if TYPE_CHECKING:
    Embedder = EmbedderSection
else:
    _KINDS = [*map(_section, embedders.kinds()), TransformerEmbedder, OpenAIEmbedder]
    Embedder = Annotated[reduce(or_, _KINDS), Field(discriminator="kind")]
