"""The typed view of a composed config: what each key means, what it may be, and which keys change a result.

`parse` turns Hydra's plain dictionary into `Config` and reports every problem at once. Fields marked `NEUTRAL`
(paths, devices, batch sizes, credentials' whereabouts) cannot change a result and stay out of every store key.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gip_exp.errors import listed

STAGES = ("data", "base", "score", "embed", "rank", "select", "train", "evaluate")


class _Neutral:
    """Marks a field that cannot change a result."""


NEUTRAL = _Neutral()
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    """A part of the config: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, protected_namespaces=())


def content(section: BaseModel) -> dict[str, Any]:
    """The section's fields that can change a result, as plain JSON values."""
    kept: dict[str, Any] = {}
    for name, info in type(section).model_fields.items():
        if any(isinstance(mark, _Neutral) for mark in info.metadata):
            continue
        kept[name] = _plain(getattr(section, name))
    return kept


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return content(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


class Paths(Section):
    root: Path  # store, runs and sweep folders lie below


class ArithmeticData(Section):
    """A pool the project makes itself, in GSM8K's format, with known flaws."""

    kind: Literal["arithmetic"]
    n: Positive
    n_test: Positive
    flawed: Annotated[float, Field(ge=0, lt=1)]
    seed: int
    test_seed: int
    limit: Positive | None = None
    max_length: Annotated[Positive, NEUTRAL]  # the default of train.max_length, which is content


class Hub(Section):
    """Where the rows are on the Hugging Face hub, used when `data.path` is null."""

    name: str
    config: str | None = None
    revision: str | None = None
    test_split: str | None = None


class RowsData(Section):
    """Rows from a folder with train and test files, from one file, or from the hub."""

    kind: Literal["rows"]
    shape: Literal["auto", "question_answer", "instruction", "prompt_completion", "messages"]
    path: Annotated[str | None, NEUTRAL] = None  # the rows' hash goes into the key instead
    hub: Hub | None = None
    limit: Positive | None = None
    max_length: Annotated[Positive, NEUTRAL]


class Target(Section):
    """Rows held out of the pool for every method; what DSIR and LESS aim at."""

    n: Annotated[int, Field(ge=0)]
    max_share: Annotated[float, Field(ge=0, lt=1)]
    seed: int


class RulesJudge(Section):
    kind: Literal["rules"]
    name: str


class LLMJudge(Section):
    """A judge behind an OpenAI-compatible endpoint, or one vLLM serves here."""

    kind: Literal["openai", "vllm"]
    name: str
    model: str
    base_url: Annotated[str | None, NEUTRAL] = None
    concurrency: Annotated[Positive, NEUTRAL] = 64
    temperature: NonNegative = 0.0
    max_tokens: Positive = 512
    votes: Positive = 1
    max_unscored: Annotated[float, Field(ge=0, le=1), NEUTRAL] = 0.01
    max_cost_usd: Annotated[NonNegative | None, NEUTRAL] = None
    dry_run: Annotated[bool, NEUTRAL] = False
    price: Annotated[dict[str, NonNegative], NEUTRAL] = Field(default_factory=dict)


class Attribute(Section):
    """One judged quality, with what a 1 and a 5 look like."""

    description: str
    anchors: dict[int, str] = Field(default_factory=dict)


class Rubric(Section):
    name: str
    attributes: dict[str, Any] | list[Any]
    model_config = ConfigDict(extra="allow", frozen=True)


class TfidfEmbedder(Section):
    """TF-IDF over words, numbers and marks, reduced by truncated SVD (no model needed)."""

    kind: Literal["tfidf"]
    name: str
    dimensions: Positive
    ngrams: Positive
    min_count: Positive
    seed: int = 0


class TransformerEmbedder(Section):
    """A transformer encoder: hidden states pooled over the text. `model` null means the experiment's own model."""

    kind: Literal["transformer"]
    name: str
    model: str | None
    pooling: Literal["mean", "last", "cls"]
    max_length: Positive
    instruction: str = ""
    batch_size: Annotated[Positive, NEUTRAL] = 32


class OpenAIEmbedder(Section):
    kind: Literal["openai"]
    name: str
    model: str
    base_url: Annotated[str | None, NEUTRAL] = None
    dimensions: Positive | None = None
    batch_size: Annotated[Positive, NEUTRAL] = 128


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
    seed: int


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
    gradient_checkpointing: Annotated[bool, NEUTRAL] = False
    seed: int

    @model_validator(mode="after")
    def _one_length(self) -> "LoraTrain":
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of train.epochs and train.steps (set the other to null)")
        if self.batch % self.micro_batch:
            raise ValueError(
                f"train.batch={self.batch} must be a multiple of train.micro_batch={self.micro_batch}"
            )
        return self


class NoTrain(Section):
    """Evaluate the base as it is."""

    kind: Literal["none"]


class Engine(Section):
    kind: Literal["hf", "vllm"]
    device: Annotated[Literal["auto", "cpu", "cuda"], NEUTRAL] = "auto"
    batch_size: Annotated[Positive, NEUTRAL] = 64


class Gsm8kEvaluation(Section):
    task: Literal["zero_shot", "few_shot"]
    shots: Annotated[int, Field(ge=0)]
    max_new_tokens: Positive
    limit: Positive | None = None


class AnswerNllEvaluation(Section):
    limit: Positive | None = None


class Evaluations(Section):
    gsm8k: Gsm8kEvaluation | None = None
    answer_nll: AnswerNllEvaluation | None = None

    def chosen(self) -> dict[str, Section]:
        """The evaluations asked for, by name, in a fixed order."""
        named = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: section for name, section in named.items() if section is not None}


class Tracking(Section):
    kind: Literal["wandb", "none"]
    project: str | None = None
    entity: str | None = None
    group: str | None = None
    mode: Literal["auto", "online", "offline"] = "auto"


Data = Annotated[ArithmeticData | RowsData, Field(discriminator="kind")]
Judge = Annotated[RulesJudge | LLMJudge, Field(discriminator="kind")]
Embedder = Annotated[TfidfEmbedder | TransformerEmbedder | OpenAIEmbedder, Field(discriminator="kind")]
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
    | DppSelector,
    Field(discriminator="kind"),
]
Train = Annotated[LoraTrain | NoTrain, Field(discriminator="kind")]


class Config(Section):
    experiment: str
    budget: int | float
    seed: Annotated[int, Field(ge=0)]
    until: Annotated[Literal[STAGES] | None, NEUTRAL] = None  # type: ignore[valid-type]
    paths: Annotated[Paths, NEUTRAL]
    data: Data
    target: Target
    judge: Judge
    rubric: Rubric
    embedder: Embedder
    selector: Selector
    model: Model
    train: Train
    engine: Engine
    evaluation: Evaluations = Evaluations()
    tracking: Annotated[Tracking, NEUTRAL]

    @model_validator(mode="before")
    @classmethod
    def _budget(cls, values: Any) -> Any:
        if isinstance(values, dict):
            budget = values.get("budget")
            if isinstance(budget, bool) or not isinstance(budget, int | float):
                raise ValueError(
                    f"budget={budget!r} must be a count (an integer from 1) or a share (0 < share <= 1.0)"
                )
            if isinstance(budget, int) and budget < 1:
                raise ValueError(f"budget={budget} must be a count of at least 1, or a share such as 0.1")
            if isinstance(budget, float) and not 0 < budget <= 1:
                raise ValueError(f"budget={budget} is not a share in (0, 1]; for a count write an integer")
            selector = values.get("selector")
            if isinstance(selector, dict) and selector.get("kind") == "full":
                values = {**values, "budget": 1.0}  # the whole pool, however it is swept
        return values


def parse(values: Mapping[str, Any]) -> Config:
    """Validate a composed config. Raises `UserError` with every problem at once."""
    try:
        return Config.model_validate(dict(values))
    except ValidationError as error:
        raise listed(
            "the configuration has several problems:", [_say(problem) for problem in error.errors()]
        ) from None


# Tags that pydantic adds to a location for the member of a union; they are no keys of ours.
_UNION_TAGS = {
    "data": ("arithmetic", "rows"),
    "judge": ("rules", "openai", "vllm"),
    "embedder": ("tfidf", "transformer", "openai"),
    "selector": ("gip", "random", "full", "top_score", "gate_random", "dsir", "disf", "k_center", "k_means")
    + ("facility_location", "dpp"),
    "train": ("lora", "none"),
}


def _say(problem: Mapping[str, Any]) -> str:
    """One pydantic problem as `key=value: what is allowed`."""
    location = [str(part) for part in problem["loc"]]
    if len(location) > 1 and location[1] in _UNION_TAGS.get(location[0], ()):
        location.pop(1)
    key = ".".join(part for part in location if part not in ("int", "float"))
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{key} is not a key of this configuration: remove it or check its spelling"
    if problem["type"] == "missing":
        return f"{key} is missing: give it a value ({key}=...)"
    if problem["type"] == "value_error":
        return message if not key or key.split(".")[0] in message else f"{key}: {message}"
    return f"{key}={problem['input']!r}: {message[0].lower()}{message[1:]}"
