"""The selectors and their options, one class a kind."""

from typing import Annotated, Literal

from pydantic import Field

from gip_exp.config.learning import LoraTrain
from gip_exp.config.section import NEUTRAL, Name, NonNegative, Positive, Section, Seed, Share


class GipSelector(Section):
    """Greedy information projection; the options are those of `selection.gip_select`."""

    kind: Literal["gip"]
    name: Name
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
    name: Name
    signal: Literal["none"]
    seed: Seed


class FullSelector(Section):
    kind: Literal["full"]
    name: Name
    signal: Literal["none"]


class TopScoreSelector(Section):
    kind: Literal["top_score"]
    name: Name
    signal: Literal["judge"]


class GateRandomSelector(Section):
    """Keep the best `gate` share by mean score, then choose at random among them."""

    kind: Literal["gate_random"]
    name: Name
    signal: Literal["judge"]
    gate: Share
    seed: Seed


class DsirSelector(Section):
    kind: Literal["dsir"]
    name: Name
    signal: Literal["target"]
    ngrams: Positive
    buckets: Positive
    laplace: NonNegative
    seed: Seed


class DisfSelector(Section):
    kind: Literal["disf"]
    name: Name
    signal: Literal["none"]
    batch_size: Annotated[int, Field(ge=2)]
    seed: Seed


class SeededFeatureSelector(Section):
    """Selectors on the embeddings with a random start."""

    kind: Literal["k_center", "k_means"]
    name: Name
    signal: Literal["none"]
    seed: Seed


class FacilityLocationSelector(Section):
    kind: Literal["facility_location"]
    name: Name
    signal: Literal["none"]


class DppSelector(Section):
    kind: Literal["dpp"]
    name: Name
    signal: Literal["none"]
    ridge: Annotated[float, Field(gt=0)]


class LessSelector(Section):
    kind: Literal["less"]
    name: Name
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
