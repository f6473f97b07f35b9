"""Who judges the rows (`judge=`)."""

import datetime
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from gip_exp.config.base import NEUTRAL, NonNegative, Positive, Section, Urls
from gip_exp.registry.functions import JUDGES


def _whole_price(price: dict[str, float]) -> dict[str, float]:
    if missing := {"input", "output"} - set(price):
        raise ValueError(f"needs {', '.join(sorted(missing))}: US dollars per million tokens")
    return price


class End(Section):
    """When a provider switches a model off: the first day without it, where that is announced, and what it names instead."""

    date: datetime.date
    source: str
    instead: str = ""


BatchRest = Literal["live", "batch", "unscored"]

# Price of a model in US dollars per million tokens.
Price = Annotated[dict[Literal["input", "output", "cached_input"], NonNegative], AfterValidator(_whole_price)]


class JudgeSection(Section):
    """Fields of every judge: its kind (the function, or the type of LLM judge), and its name in reports."""

    kind: str
    name: str


class LLMEndpoint(Section):
    """Fields of everything that asks an OpenAI-compatible endpoint."""

    model: str
    provider: Literal["openai", "azure"]
    base_url: Annotated[Urls, NEUTRAL]  # several: requests are divided among them
    key_variable: Annotated[
        str | None, NEUTRAL
    ]  # environment variable of the API key; null: the provider's usual one
    api_version: Annotated[str, NEUTRAL]  # of Azure
    reasoning: bool | None  # null: by the model's name; needed for Azure deployments under other names
    reasoning_tokens: Positive  # allowed for hidden reasoning, beside max_tokens
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None
    mixed_models: bool  # whether replies under several model names may be used together
    concurrency: Annotated[Positive, NEUTRAL]
    timeout_s: Annotated[float, Field(gt=0), NEUTRAL]
    max_cost_usd: Annotated[Annotated[float, Field(gt=0)] | None, NEUTRAL]
    batch: Annotated[bool, NEUTRAL]
    batch_rest: Annotated[BatchRest, NEUTRAL]
    batch_wait_min: Annotated[NonNegative, NEUTRAL]
    batch_share: Annotated[float, Field(gt=0, le=1), NEUTRAL]  # price in a batch, relative to a live request
    prices: Annotated[dict[str, Price], NEUTRAL]
    offline: Annotated[bool, NEUTRAL]
    extra_body: dict[str, Any]

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses in `base_url`; empty for the provider's own."""
        return (self.base_url,) if isinstance(self.base_url, str) else tuple(self.base_url or ())


class LLMJudge(JudgeSection, LLMEndpoint):
    """A judge behind an OpenAI-compatible endpoint (`openai`), or one that vLLM serves on this machine (`vllm`)."""

    kind: Literal["openai", "vllm"]
    temperature: Annotated[float, Field(ge=0, le=2)] | None
    max_tokens: Positive
    votes: Positive  # replies per example, averaged
    repeat: Annotated[int, Field(ge=0)]  # another number asks the same judge anew
    sample: Positive | None  # judge only so many rows of the pool, drawn by the seed
    round: Annotated[int, Field(ge=0)]  # increase it to ask again for unscored examples
    max_unscored: Annotated[float, Field(ge=0, le=1), NEUTRAL]
    dry_run: Annotated[bool, NEUTRAL]
    ends: Annotated[dict[str, End], NEUTRAL]
    replicas: Annotated[Positive | None, NEUTRAL]  # this and the next three: vLLM only
    dtype: Literal["float32", "bfloat16", "float16"]
    max_model_len: Positive | None
    server_args: list[str]

    @property
    def gguf(self) -> bool:
        """Whether vLLM serves the model of a GGUF file, which a stage converts to a model folder."""
        return self.kind == "vllm" and self.model.lower().endswith(".gguf")


if TYPE_CHECKING:
    Judge = JudgeSection
else:
    _KINDS = [*JUDGES.sections(JudgeSection), LLMJudge]
    Judge = Annotated[reduce(or_, _KINDS), Field(discriminator="kind")]
