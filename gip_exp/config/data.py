"""Where the rows come from (`data=`)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gip_exp.config.base import NEUTRAL, Positive, Section, Seed, Share


class ArithmeticData(Section):
    """A generated pool in the format of GSM8K, with known flaws."""

    kind: Literal["arithmetic"]
    n: Positive
    n_test: Positive
    flawed: Annotated[float, Field(ge=0, lt=1)]
    seed: Seed
    test_seed: Seed
    limit: Positive | None = None
    max_length: Annotated[Positive, NEUTRAL]  # the default of train.max_length, which is content


class Hub(Section):
    """A data set on the Hugging Face hub, used if `data.path` is null or names a hub data set."""

    name: str | None
    config: str | None = None
    revision: str | None = None
    split: str = "train"
    test_split: str | None = None


class Columns(Section):
    """The columns to read; null ones are detected by name.

    Attributes:
        prompt: One column, or several to be joined by an empty line. Requires `completion`.
        completion: The answer. Requires `prompt`.
        conversation: A column of turns, instead of `prompt` and `completion`.
        system, history, tools, reasoning: Further parts of the conversation.
        id: The rows' own ids, copied to `selected.jsonl`.
    """

    prompt: str | list[str] | None = None
    completion: str | None = None
    conversation: str | None = None
    system: str | None = None
    history: str | None = None
    tools: str | None = None
    reasoning: str | None = None
    id: str | None = None

    @model_validator(mode="after")
    def _both(self) -> "Columns":
        if bool(self.prompt) != bool(self.completion):
            raise ValueError(
                "data.columns needs both: data.columns.prompt=COLUMN data.columns.completion=COLUMN"
            )
        if self.prompt and self.conversation:
            raise ValueError(
                "data.columns.conversation replaces data.columns.prompt and .completion: give one or the other"
            )
        return self

    def chosen(self) -> dict[str, str | list[str]]:
        """Return the columns that are given, in the form that `find_layout` takes."""
        named = {"own_id" if name == "id" else name: value for name, value in self.model_dump().items()}
        return {name: value for name, value in named.items() if value}


class RowsData(Section):
    """Rows from files (one, several, or a folder with train and test files) or from the hub."""

    kind: Literal["rows"]
    shape: Literal["auto", "question_answer", "instruction", "prompt_completion", "messages", "preference"]
    drop_empty: bool  # leave out rows without a completion; otherwise they are broken rows
    # leave out and count broken rows; otherwise they are an error
    drop_broken: bool = False
    repeated: Literal["keep", "drop"] = "keep"  # rows with the texts of an earlier row
    near_copies: Share | None = None  # drop rows at least this similar to an earlier row
    # rows sharing 13 words with a test question
    contaminated: Literal["note", "drop"] = "note"
    keep_rows: bool = False  # also write the original selected rows
    # share of the rows that get a known flaw, for experiments on quality, and the seed of their choice
    flawed: Annotated[float, Field(ge=0, lt=1)] = 0.0
    flaw_seed: Seed = 0
    columns: Columns = Columns()
    path: Annotated[str | None, NEUTRAL] = None  # the hash of the rows is in the key instead
    allow_missing_shards: Annotated[bool, NEUTRAL] = False  # the hashes of existing shards are in the key
    hub: Hub | None = None
    limit: Positive | None = None
    # Further columns to keep: numeric ones are scores, text columns are categories.
    metadata: list[str] = Field(default_factory=list)
    # Metadata columns in which lower is better (losses, perplexity). Part of the key of score/metadata, not of data.
    lower_is_better: Annotated[list[str], NEUTRAL] = Field(default_factory=list)
    license: Annotated[str | None, NEUTRAL] = None  # for the card of export=[hf]
    max_length: Annotated[Positive, NEUTRAL]

    @model_validator(mode="after")
    def _known_columns(self) -> "RowsData":
        if absent := [column for column in self.lower_is_better if column not in self.metadata]:
            raise ValueError(
                f"data.lower_is_better names {absent[0]!r}, which is not in data.metadata={self.metadata}: add it there"
            )
        return self

    @model_validator(mode="after")
    def _flaws_in_kept_rows(self) -> "RowsData":
        if self.flawed and self.keep_rows:
            raise ValueError(
                "data.flawed changes the rows of the pool, and data.keep_rows writes the original ones: set one of them to "
                "0 or false"
            )
        return self


Data = Annotated[ArithmeticData | RowsData, Field(discriminator="kind")]
