"""The language model and its prompt format (`model=`)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gip_exp.config.base import NEUTRAL, NonNegative, Positive, Section, Seed


class Prompt(Section):
    """The prompt format of a model family, used by training and by every evaluation."""

    style: Literal["plain", "chat"]
    template: str = "{prompt}"
    completion_prefix: str = ""

    @model_validator(mode="after")
    def _template_holds_the_prompt(self) -> "Prompt":
        if self.style == "plain" and self.template.count("{prompt}") != 1:
            raise ValueError(f"template={self.template!r} must contain {{prompt}} exactly once")
        return self


class Scratch(Section):
    """A tiny base model of the Qwen3 architecture, trained from scratch on text that does not contain the task."""

    tokenizer: Literal["word", "byte"]
    vocab_size: Positive
    corpus: Literal["arithmetic", "questions"]
    documents: Positive
    hidden: Positive
    layers: Positive
    heads: Positive
    kv_heads: Positive
    feed_forward: Positive
    context: Positive
    steps: Positive
    batch: Positive
    tokens: Positive
    lr: Annotated[float, Field(gt=0)]  # AdamW: embeddings and norms
    muon_lr: Annotated[float, Field(gt=0)]  # Muon: the layers' matrices
    weight_decay: NonNegative
    seed: Seed

    @model_validator(mode="after")
    def _heads_fit(self) -> "Scratch":
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"model.scratch.heads={self.heads}: model.scratch.hidden={self.hidden} must be an even multiple of it"
            )
        if self.heads % self.kv_heads:
            raise ValueError(
                f"model.scratch.kv_heads={self.kv_heads} must divide model.scratch.heads={self.heads}"
            )
        return self


class Model(Section):
    """The language model to fine-tune: a folder, a hub id or a GGUF file, or one trained from scratch."""

    name: str
    # folder, hub id, GGUF file or package:NAME/PATH; null for a model trained by the stage `base`
    path: str | None
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"]
    # of a hub model, to check requirements before downloading
    parameters: Annotated[float | None, NEUTRAL] = None
    prompt: Prompt
    scratch: Scratch | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "Model":
        if (self.path is None) == (self.scratch is None):
            raise ValueError(
                "give exactly one of model.path (a folder, a GGUF file or a hub id) and model.scratch (train a tiny base)"
            )
        return self

    @property
    def gguf(self) -> bool:
        """Whether the model is a GGUF file, which the stage `base` converts to a model folder."""
        return self.path is not None and self.path.lower().endswith(".gguf")

    @property
    def made(self) -> bool:
        """Whether the stage `base` makes the model's folder: by training from scratch, or from a GGUF file."""
        return self.scratch is not None or self.gguf
