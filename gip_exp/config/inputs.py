"""Where the rows come from, who judges them and how they are embedded."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from gip_exp.config.section import LATER, NEUTRAL, NonNegative, Positive, Section, Seed, Url


def _whole_price(price: dict[str, float]) -> dict[str, float]:
    if missing := {"input", "output"} - set(price):
        raise ValueError(f"needs {', '.join(sorted(missing))}: US dollars a million tokens")
    return price


# Of a model, in US dollars a million tokens.
Price = Annotated[dict[Literal["input", "output", "cached_input"], NonNegative], AfterValidator(_whole_price)]


class ArithmeticData(Section):
    """A pool the project makes itself, in GSM8K's format, with known flaws."""

    kind: Literal["arithmetic"]
    n: Positive
    n_test: Positive
    flawed: Annotated[float, Field(ge=0, lt=1)]
    seed: Seed
    test_seed: Seed
    limit: Positive | None = None
    max_length: Annotated[Positive, NEUTRAL]  # the default of train.max_length, which is content


class Hub(Section):
    """Where the rows are on the Hugging Face hub, used when `data.path` is null or names a data set there."""

    name: str | None
    config: str | None = None
    revision: str | None = None
    split: Annotated[str, LATER] = "train"
    test_split: str | None = None


class Columns(Section):
    """Which columns of the rows are the prompt (several are joined by an empty line) and the completion."""

    prompt: str | list[str] | None = None
    completion: str | None = None

    @model_validator(mode="after")
    def _both(self) -> "Columns":
        if bool(self.prompt) != bool(self.completion):
            raise ValueError(
                "data.columns needs both: data.columns.prompt=COLUMN data.columns.completion=COLUMN"
            )
        return self

    @property
    def prompts(self) -> list[str]:
        return [self.prompt] if isinstance(self.prompt, str) else list(self.prompt or ())


class RowsData(Section):
    """Rows from files (one, several, or a folder with train and test files) or from the hub."""

    kind: Literal["rows"]
    shape: Literal["auto", "question_answer", "instruction", "prompt_completion", "messages"]
    drop_empty: bool  # leave out rows without a completion instead of refusing them
    drop_broken: Annotated[bool, LATER] = False  # leave out, and count, every row that cannot be used
    keep_rows: Annotated[bool, LATER] = False  # the selected rows as they were, beside the examples
    columns: Annotated[Columns, LATER] = Columns()  # where the rows have none of the known shapes
    path: Annotated[str | None, NEUTRAL] = None  # the rows' hash goes into the key instead
    hub: Hub | None = None
    limit: Positive | None = None
    metadata: list[str] = Field(default_factory=list)  # numeric columns of the rows that are kept as a signal
    max_length: Annotated[Positive, NEUTRAL]


class Target(Section):
    """Rows held out of the pool for every method; what DSIR and LESS aim at."""

    n: Annotated[int, Field(ge=0)]
    max_share: Annotated[float, Field(ge=0, lt=1)]
    seed: Seed


class RulesJudge(Section):
    kind: Literal["rules"]
    name: str


class LLMJudge(Section):
    """A judge behind an OpenAI-compatible endpoint (`openai`), or one that vLLM serves on this machine (`vllm`)."""

    kind: Literal["openai", "vllm"]
    name: str
    model: str
    provider: Literal["openai", "azure"]
    base_url: Annotated[Url | None, NEUTRAL]
    temperature: Annotated[float, Field(ge=0, le=2)] | None
    max_tokens: Positive
    votes: Positive  # replies an example, averaged
    round: Annotated[int, Field(ge=0)]  # raise it to ask again for what the finished round left unscored
    max_unscored: Annotated[float, Field(ge=0, le=1), NEUTRAL]
    concurrency: Annotated[Positive, NEUTRAL]
    timeout_s: Annotated[float, Field(gt=0), NEUTRAL]
    max_cost_usd: Annotated[Annotated[float, Field(gt=0)] | None, NEUTRAL]
    dry_run: Annotated[bool, NEUTRAL]
    prices: Annotated[dict[str, Price], NEUTRAL]
    extra_body: dict[str, Any]
    dtype: Literal["float32", "bfloat16", "float16"]  # the next three: vLLM only
    max_model_len: Positive | None
    server_args: list[str]


class Sampling(Section):
    """Self-consistency: how often a question is answered, and what counts as its answer."""

    name: str
    samples: Positive
    temperature: Annotated[float, Field(gt=0, le=2)]
    max_tokens: Positive
    answer: Literal["number", "text"]
    max_unscored: Annotated[float, Field(ge=0, le=1), NEUTRAL]


class ModelSampler(Sampling):
    """Answers sampled from the experiment's own untuned model, through `engine`."""

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


class Rubric(Section):
    """What a judge grades: attributes with five anchors each. The rule judge takes the name only."""

    name: str
    comment: bool
    material: str
    attributes: list[dict[str, Any]]


class TfidfEmbedder(Section):
    """TF-IDF over words, numbers and marks, reduced by truncated SVD (no model needed)."""

    kind: Literal["tfidf"]
    name: str
    dimensions: Positive
    ngrams: Positive
    min_count: Positive
    seed: Seed = 0


class TransformerEmbedder(Section):
    """A transformer encoder: hidden states pooled over the text. `model` null means the experiment's own model."""

    kind: Literal["transformer"]
    name: str
    model: str | None
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"]  # of the network; the vectors are float32
    pooling: Literal["mean", "last", "cls"]
    max_length: Positive
    instruction: str = ""
    batch_size: Annotated[Positive, NEUTRAL] = 32


class OpenAIEmbedder(Section):
    kind: Literal["openai"]
    name: str
    model: str
    base_url: Annotated[Url | None, NEUTRAL] = None
    dimensions: Positive | None = None
    batch_size: Annotated[Positive, NEUTRAL] = 128


Data = Annotated[ArithmeticData | RowsData, Field(discriminator="kind")]
Judge = Annotated[RulesJudge | LLMJudge, Field(discriminator="kind")]
Sampler = Annotated[ModelSampler | EndpointSampler, Field(discriminator="kind")]
Embedder = Annotated[TfidfEmbedder | TransformerEmbedder | OpenAIEmbedder, Field(discriminator="kind")]
