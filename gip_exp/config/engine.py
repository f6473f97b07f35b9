"""How the tuned model is run for evaluation (`engine=`)."""

from typing import Annotated, Literal

from pydantic import Field

from gip_exp.config.base import NEUTRAL, Positive, Section


class Engine(Section):
    """Transformers in this process (`hf`) or a vLLM server (`vllm`)."""

    kind: Literal["hf", "vllm"]
    device: Annotated[Literal["auto", "cpu", "cuda"], NEUTRAL] = "auto"
    batch_size: Annotated[Positive, NEUTRAL] = 64
    max_model_len: Positive | None = None  # this and the next two: vLLM only
    enforce_eager: Annotated[bool, NEUTRAL] = False
    server_args: Annotated[list[str], NEUTRAL] = Field(default_factory=list)
    check_adapter: Annotated[bool, NEUTRAL] = True  # raise an error if the adapter has no effect
