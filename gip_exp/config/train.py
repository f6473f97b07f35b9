"""Fine-tuning (`train=`)."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from gip_exp.config.base import NEUTRAL, NonNegative, Positive, Section, Seed


class LoraTrain(Section):
    """LoRA fine-tuning, for a number of either epochs or steps."""

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
    too_long: Literal["cut", "drop"] = "cut"  # examples longer than max_length
    loss_on: Literal["last_reply", "all_replies"] = "last_reply"  # of conversations
    packing: bool = False  # several examples in one sequence of max_length tokens; requires FlashAttention
    gradient_checkpointing: Annotated[bool, NEUTRAL] = False
    attention: Annotated[Literal["auto", "eager", "sdpa", "flash_attention_2"], NEUTRAL] = "auto"
    processes: Annotated[Positive, NEUTRAL] = 1  # GPUs of this machine that share a batch
    # a killed run continues from the last checkpoint
    checkpoint_steps: Annotated[Positive | None, NEUTRAL] = None
    require_loss_fall: Annotated[bool, NEUTRAL] = True  # raise an error if training does not lower the loss
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
    """No fine-tuning: the base model is evaluated."""

    kind: Literal["none"]


Train = Annotated[LoraTrain | NoTrain, Field(discriminator="kind")]
