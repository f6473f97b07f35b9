"""The selectors and their options, one class a kind."""

from typing import Annotated, Literal

from pydantic import Field

from gip_exp.config.learning import LoraTrain
from gip_exp.config.section import NEUTRAL, NonNegative, Positive, Section, Share


class GipSelector(Section):
    """Greedy information projection; the options are those of `selection.gip_select`."""

    kind: Literal["gip"]
    name: str
    signal: Literal["judge", "self_compression"]
    method: Literal["mp", "omp", "logdet"]
    ridge: NonNegative
    center: bool
    normalize: bool
    score_scaling: Literal["rms", "minmax", "none"]
    tol: NonNegative
    noise: NonNegative


class RandomSelector(Section):
    kind: Literal["random"]
    name: str
    signal: Literal["none"]
    seed: int


class FullSelector(Section):
    kind: Literal["full"]
    name: str
    signal: Literal["none"]


class TopScoreSelector(Section):
    kind: Literal["top_score"]
    name: str
    signal: Literal["judge"]


class GateRandomSelector(Section):
    """Keep the best `gate` share by mean score, then choose at random among them."""

    kind: Literal["gate_random"]
    name: str
    signal: Literal["judge"]
    gate: Share
    seed: int


class DsirSelector(Section):
    kind: Literal["dsir"]
    name: str
    signal: Literal["target"]
    ngrams: Positive
    buckets: Positive
    laplace: NonNegative
    seed: int


class DisfSelector(Section):
    kind: Literal["disf"]
    name: str
    signal: Literal["none"]
    batch_size: Annotated[int, Field(ge=2)]
    seed: int


class SeededFeatureSelector(Section):
    """Selectors on the embeddings with a random start."""

    kind: Literal["k_center", "k_means"]
    name: str
    signal: Literal["none"]
    seed: int


class FacilityLocationSelector(Section):
    kind: Literal["facility_location"]
    name: str
    signal: Literal["none"]


class DppSelector(Section):
    kind: Literal["dpp"]
    name: str
    signal: Literal["none"]
    ridge: Annotated[float, Field(gt=0)]


class LessSelector(Section):
    kind: Literal["less"]
    name: str
    signal: Literal["target"]
    warmup_share: Share
    warmup: LoraTrain
    dimensions: Positive
    projection_seed: Annotated[int, Field(ge=0)]
    gradient_batch: Annotated[Positive, NEUTRAL]


Selector = Annotated[
    GipSelector
    | RandomSelector
    | FullSelector
    | TopScoreSelector
    | GateRandomSelector
    | DsirSelector
    | DisfSelector
    | SeededFeatureSelector
    | FacilityLocationSelector
    | DppSelector
    | LessSelector,
    Field(discriminator="kind"),
]
