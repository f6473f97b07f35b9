"""The selectors and their options, one class a kind."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from gip_exp.config.base import NEUTRAL, Name, NonNegative, Positive, Section, Seed, Share
from gip_exp.config.train import LoraTrain

SOURCES = ("judge", "self_consistency", "self_compression", "metadata")  # what a mixture can be made of
ScoreSignal = Literal["judge", "self_consistency", "metadata", "mixture"]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class OnScores(Section):
    """A selector that reads a table of scores: which one, and for a mixture what is in it.

    `signals` maps a source (`judge`) or one column of it (`judge.accuracy`) to its weight. A source stands for all
    its columns, an entry for a column goes before that for its source, null leaves a source or a column out.
    """

    signal: str
    signals: dict[str, Weight | None] = Field(default_factory=dict)

    @property
    def weights(self) -> dict[str, float]:
        """The entries of `signals` that have a weight."""
        return {name: weight for name, weight in self.signals.items() if weight is not None}

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that the signal is made of, in a fixed order."""
        wanted = (
            {name.partition(".")[0] for name in self.weights} if self.signal == "mixture" else {self.signal}
        )
        return tuple(source for source in SOURCES if source in wanted)

    @field_validator("signals", mode="before")
    @classmethod
    def _flat(cls, given: Any) -> Any:
        """`{judge: {accuracy: 1}}`, as the command line writes it, is `{"judge.accuracy": 1}`."""
        if not isinstance(given, Mapping):
            return given
        flat: dict[str, Any] = {}
        for name, value in given.items():
            inner = value if isinstance(value, Mapping) else {"": value}
            flat |= {f"{name}.{column}" if column else str(name): weight for column, weight in inner.items()}
        return flat

    @model_validator(mode="after")
    def _mixture(self) -> "OnScores":
        if self.signal != "mixture":
            if self.signals:
                raise ValueError(
                    f"selector.signals is for selector.signal=mixture, this is signal={self.signal}: remove it, or "
                    "choose selector=mp_mixture"
                )
            return self
        if not self.weights:
            raise ValueError("selector.signals is empty: weigh at least one source, e.g. {judge: 1.0}")
        for name in self.signals:
            source, dot, column = name.partition(".")
            if source not in SOURCES or (dot and not column):
                raise ValueError(
                    f"selector.signals names {name!r}: use a source ({', '.join(SOURCES)}) or one column of it, "
                    "e.g. judge.accuracy"
                )
        return self


class GipSelector(OnScores):
    """Greedy information projection; the options are those of `selection.gip_select`."""

    kind: Literal["gip"]
    name: Name
    signal: Literal["judge", "self_compression", "self_consistency", "metadata", "mixture"]
    method: Literal["mp", "omp", "logdet"]
    ridge: NonNegative
    center: bool
    normalize: bool
    score_scaling: Literal["rms", "minmax", "none"]
    tol: NonNegative
    noise: NonNegative

    @model_validator(mode="after")
    def _scaled_once(self) -> "GipSelector":
        if self.signal == "mixture" and self.score_scaling != "none":
            raise ValueError(
                f"selector.score_scaling={self.score_scaling} would undo the weights of selector.signals: a mixture "
                "is scaled already, use selector.score_scaling=none"
            )
        return self


class RandomSelector(Section):
    kind: Literal["random"]
    name: Name
    signal: Literal["none"]
    seed: Seed


class FullSelector(Section):
    kind: Literal["full"]
    name: Name
    signal: Literal["none"]


class TopScoreSelector(OnScores):
    kind: Literal["top_score"]
    name: Name
    signal: ScoreSignal


class GateRandomSelector(OnScores):
    """Keep the best `gate` share by mean score, then choose at random among them."""

    kind: Literal["gate_random"]
    name: Name
    signal: ScoreSignal
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
    projection_seed: Seed
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
