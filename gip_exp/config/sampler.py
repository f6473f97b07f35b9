"""The model that answers the questions for self-consistency scores (`sampler=`)."""

from typing import Annotated, Literal

from pydantic import Field

from gip_exp.config.base import NEUTRAL, Positive, Section, Seed
from gip_exp.config.judge import LLMEndpoint


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


class EndpointSampler(Sampling, LLMEndpoint):
    """Answers sampled from a model behind an OpenAI-compatible endpoint."""

    kind: Literal["openai"]
    seed: Seed | None


Sampler = Annotated[ModelSampler | EndpointSampler, Field(discriminator="kind")]
