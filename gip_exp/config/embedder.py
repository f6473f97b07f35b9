"""How rows become vectors (`embedder=`)."""

from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from gip_exp.config.base import NEUTRAL, Positive, Section, Url
from gip_exp.registry.functions import EMBEDDERS


class EmbedderSection(Section):
    """Fields of every embedder: its kind (the function or type of model), and its name in reports."""

    kind: str
    name: str


class NetworkEmbedder(EmbedderSection):
    """A transformer run on this machine. `model=null` is the model of the experiment."""

    model: str | None
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"]  # of the network; the vectors are float32
    pooling: Literal["mean", "last", "cls", "weighted"]
    max_length: Positive
    instruction: str = ""


class TransformerEmbedder(NetworkEmbedder):
    """A transformer run by the transformers library, in one or several processes."""

    kind: Literal["transformer"]
    batch_size: Annotated[Positive, NEUTRAL] = 32
    processes: Annotated[Positive, NEUTRAL] = 1  # GPUs of this machine, or of all nodes of a SLURM job


class VLLMEmbedder(NetworkEmbedder):
    """A transformer served by vLLM on this machine."""

    kind: Literal["vllm"]
    pooling: Literal["mean", "last", "cls"]
    batch_size: Annotated[Positive, NEUTRAL] = 128  # texts per request
    concurrency: Annotated[Positive, NEUTRAL] = 4  # requests at a time
    server_args: Annotated[list[str], NEUTRAL] = Field(default_factory=list)


class OpenAIEmbedder(EmbedderSection):
    """Embeddings from an OpenAI-compatible endpoint."""

    kind: Literal["openai"]
    model: str
    base_url: Annotated[Url | None, NEUTRAL] = None
    dimensions: Positive | None = None
    batch_size: Annotated[Positive, NEUTRAL] = 128
    concurrency: Annotated[Positive, NEUTRAL] = 1  # requests at a time


class FileEmbedder(EmbedderSection):
    """Embeddings that exist: a `.npy` file with one vector per row of the data, in the order of its rows."""

    kind: Literal["file"]
    path: Annotated[Path | None, NEUTRAL] = None  # the content of the file counts


if TYPE_CHECKING:
    Embedder = EmbedderSection
else:
    _KINDS = [
        *EMBEDDERS.sections(EmbedderSection),
        TransformerEmbedder,
        VLLMEmbedder,
        OpenAIEmbedder,
        FileEmbedder,
    ]
    Embedder = Annotated[reduce(or_, _KINDS), Field(discriminator="kind")]
