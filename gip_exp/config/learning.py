"""The language model, its fine-tuning and the engine that runs it."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from gip_exp.config.section import NEUTRAL, NonNegative, Positive, Section, Seed


class Prompt(Section):
    """The model family's one prompt format, used by training and by every evaluation."""

    style: Literal["plain", "chat"]
    template: str = "{prompt}"
    completion_prefix: str = ""

    @model_validator(mode="after")
    def _template_holds_the_prompt(self) -> "Prompt":
        if self.style == "plain" and self.template.count("{prompt}") != 1:
            raise ValueError(f"template={self.template!r} must contain {{prompt}} exactly once")
        return self


class Scratch(Section):
    """A tiny Qwen3-architecture base, trained from scratch on text that does not contain the task."""

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
    name: str
    path: str | None  # a folder or a hub id; null for a model made by the `base` stage
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"]
    parameters: Annotated[float | None, NEUTRAL] = (
        None  # size of the hub model, to know beforehand what it needs
    )
    prompt: Prompt
    scratch: Scratch | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "Model":
        if (self.path is None) == (self.scratch is None):
            raise ValueError(
                "give exactly one of model.path (a folder or hub id) and model.scratch (train a tiny base)"
            )
        return self


class LoraTrain(Section):
    kind: Literal["lora"]
    r: Positive
    alpha: Annotated[float, Field(gt=0)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    target_modules: str | list[str]
    lr: Annotated[float, Field(gt=0)]
    schedule: Literal["cosine", "linear", "constant"]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: NonNegative
    max_grad_norm: Annotated[float, Field(gt=0)]
    epochs: Annotated[float, Field(gt=0)] | None = None
    steps: Positive | None = None
    batch: Positive
    micro_batch: Annotated[Positive, NEUTRAL]
    max_length: Positive
    packing: bool = False  # several examples in a row of max_length tokens: wants FlashAttention
    gradient_checkpointing: Annotated[bool, NEUTRAL] = False
    attention: Annotated[Literal["auto", "eager", "sdpa", "flash_attention_2"], NEUTRAL] = "auto"
    processes: Annotated[Positive, NEUTRAL] = 1  # GPUs of this machine that share a batch
    checkpoint_steps: Annotated[Positive | None, NEUTRAL] = (
        None  # a killed run goes on from the last checkpoint
    )
    require_loss_fall: Annotated[bool, NEUTRAL] = True
    seed: Seed

    @field_validator("target_modules")
    @classmethod
    def _some_modules(cls, given: str | list[str]) -> str | list[str]:
        if not given or "" in list(given):
            raise ValueError(f"must name layers, e.g. [q_proj,v_proj], or be all-linear; got {given!r}")
        return given

    @model_validator(mode="after")
    def _one_length(self) -> "LoraTrain":
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of train.epochs and train.steps (set the other to null)")
        if self.batch % (self.micro_batch * self.processes):
            times = f" times train.processes={self.processes}" if self.processes > 1 else ""
            raise ValueError(
                f"train.batch={self.batch} must be a multiple of train.micro_batch={self.micro_batch}{times}"
            )
        return self


class NoTrain(Section):
    """Evaluate the base as it is."""

    kind: Literal["none"]


class Engine(Section):
    kind: Literal["hf", "vllm"]
    device: Annotated[Literal["auto", "cpu", "cuda"], NEUTRAL] = "auto"
    batch_size: Annotated[Positive, NEUTRAL] = 64
    max_model_len: Positive | None = None  # the next three: vLLM only
    enforce_eager: Annotated[bool, NEUTRAL] = False
    server_args: Annotated[list[str], NEUTRAL] = Field(default_factory=list)
    check_adapter: Annotated[bool, NEUTRAL] = True  # an adapter that changes nothing is an error


Train = Annotated[LoraTrain | NoTrain, Field(discriminator="kind")]
