"""The selectors and their options (`selector=`): one class per kind, most of them generated from function signatures."""

from collections.abc import Mapping
from functools import cache, reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, create_model, field_validator, model_validator

from gip_exp.config.base import NEUTRAL, Name, NonNegative, Positive, Section, Seed, Share
from gip_exp.config.embedder import Embedder
from gip_exp.config.train import LoraTrain
from gip_exp.registry import selectors

SOURCES = ("judge", "self_consistency", "self_compression", "metadata")  # possible parts of a mixture
ScoreSignal = Literal["judge", "self_consistency", "metadata", "mixture"]
AboveZero = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SelectorSection(Section):
    """Fields of every selector: its kind (the function), its name in folders and reports, its signal."""

    kind: str
    name: Name
    signal: str = "none"


class OnScores(SelectorSection):
    """A selector that reads a table of scores.

    Attributes:
        signals: For `signal=mixture`, the weight of each source (`judge`) or column (`judge.accuracy`). The weight of a
            source applies to all its columns without an entry of their own; null leaves out a source or a column.
    """

    signals: dict[str, AboveZero | None] = Field(default_factory=dict)

    @property
    def weights(self) -> dict[str, float]:
        """The entries of `signals` that are not null."""
        return {name: weight for name, weight in self.signals.items() if weight is not None}

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources of the signal, in a fixed order."""
        wanted = (
            {name.partition(".")[0] for name in self.weights} if self.signal == "mixture" else {self.signal}
        )
        return tuple(source for source in SOURCES if source in wanted)

    @field_validator("signals", mode="before")
    @classmethod
    def _flat(cls, given: Any) -> Any:
        """Convert `{judge: {accuracy: 1}}`, the result of a command-line override, to `{"judge.accuracy": 1}`."""
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
                    f"selector.signals needs selector.signal=mixture, but signal={self.signal}: remove it, or choose "
                    "selector=mp_mixture"
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
    """Greedy Information Projection, with the options of `selection.gip_select`."""

    kind: Literal["gip"]
    name: Name
    signal: Literal["judge", "self_compression", "self_consistency", "metadata", "mixture"]
    method: Literal["mp", "omp", "logdet"]
    ridge: NonNegative
    center: bool
    normalize: bool
    score_scaling: Literal["rms", "minmax", "none"]
    tol: NonNegative
    noise: AboveZero
    processes: Annotated[Positive, NEUTRAL] = (
        1  # GPUs or processors of this machine, or of a SLURM job's nodes
    )

    @model_validator(mode="after")
    def _ridge_above_zero(self) -> "GipSelector":
        if self.ridge == 0 and self.method != "mp" and self.signal != "self_compression":
            raise ValueError(
                f"selector.ridge=0 with selector.method={self.method}: scores need a ridge > 0; give one, or "
                "selector.method=mp"
            )
        return self

    @model_validator(mode="after")
    def _scaled_once(self) -> "GipSelector":
        if self.signal == "mixture" and self.score_scaling != "none":
            raise ValueError(
                f"selector.score_scaling={self.score_scaling} would undo the weights of selector.signals: a mixture is "
                "already scaled, use selector.score_scaling=none"
            )
        return self


class LessSelector(SelectorSection):
    """LESS: settings of its stages `warmup` and `gradients`."""

    kind: Literal["less"]
    signal: Literal["target"]
    warmup_share: Share
    warmup: LoraTrain
    subtasks: str
    aggregate: selectors.Aggregate
    clusters: Positive
    subtask_seed: Seed
    dimensions: Positive
    projection_seed: Seed
    gradient_tokens: Annotated[Positive, NEUTRAL]


class RankingSelector(SelectorSection):
    """A ranking made elsewhere: a file of ids or row numbers, best first."""

    kind: Literal["ranking"]
    path: Annotated[str, NEUTRAL]  # the hash of the file is in the key instead


def subtask_column(selector: SelectorSection) -> str | None:
    """Return the metadata column that `selector.subtasks` names; None if it is not the name of a column."""
    subtasks = getattr(selector, "subtasks", None)
    return None if subtasks in (None, *selectors.SUBTASKS) else str(subtasks)


def less_selector(config: Any) -> LessSelector:
    """Return the selector of a config whose selector is LESS."""
    assert isinstance(config.selector, LessSelector)
    return config.selector


_WRITTEN: dict[str, type[SelectorSection]] = {
    "gip": GipSelector,
    "less": LessSelector,
    "ranking": RankingSelector,
}


@cache
def section_of(kind: str) -> type[SelectorSection]:
    """Return the config section of a selector. Raises UserError for an unknown kind."""
    if kind in _WRITTEN:
        return _WRITTEN[kind]
    selector = selectors.find(kind)
    signal = "target" if selector.at_target else "none"
    fields: dict[str, Any] = {
        "kind": (Literal[kind], ...),
        "signal": (Literal[signal], signal),
        **selector.options,
    }
    if "features" in selector.reads:
        fields["embedder"] = (Embedder | None, None)  # instead of the experiment's
    if "losses" in selector.reads:  # settings of the stage score/losses
        fields["model"] = (str | None, None)
        fields["revision"] = (str | None, None)
        fields["max_length"] = (Positive, 1024)
        fields["batch_size"] = (Annotated[Positive, NEUTRAL], 16)
    base: type[SelectorSection] = SelectorSection
    if "scores" in selector.reads:
        base, fields["signal"] = OnScores, (ScoreSignal, ...)
    section: type[SelectorSection] = create_model(kind, __base__=base, **fields)
    return section


if TYPE_CHECKING:
    Selector = SelectorSection
else:
    _KINDS = [section_of(kind) for kind in dict.fromkeys([*_WRITTEN, *selectors.own()])]
    Selector = Annotated[reduce(or_, _KINDS), Field(discriminator="kind")]
