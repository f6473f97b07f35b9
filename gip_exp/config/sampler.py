"""The model that answers the questions for self-consistency scores (`sampler=`)."""

from typing import Annotated, Any, Literal

from pydantic import Field

from gip_exp.config.base import NEUTRAL, Positive, Section, Seed, Url
from gip_exp.config.judge import Price


class Sampling(Section):
    """Settings of every sampler: samples per question, and the part of a text that is the answer."""

    name: str
    samples: Positive
    temperature: Annotated[float, Field(gt=0, le=2)]
    max_tokens: Positive
    answer: Literal["number", "text"]
    max_unscored: Annotated[float, Field(ge=0, le=1), NEUTRAL]


class ModelSampler(Sampling):
    """Answers sampled from the untuned model of the experiment, through `engine`."""

    kind: Literal["model"]
    seed: Seed


class EndpointSampler(Sampling):
    """Answers sampled from a model behind an OpenAI-compatible endpoint."""

    kind: Literal["openai"]
    seed: Seed | None
    model: str
    provider: Literal["openai", "azure"]
    base_url: Annotated[Url | None, NEUTRAL]
    concurrency: Annotated[Positive, NEUTRAL]
    timeout_s: Annotated[float, Field(gt=0), NEUTRAL]
    max_cost_usd: Annotated[Annotated[float, Field(gt=0)] | None, NEUTRAL]
    prices: Annotated[dict[str, Price], NEUTRAL]
    extra_body: dict[str, Any]


Sampler = Annotated[ModelSampler | EndpointSampler, Field(discriminator="kind")]
