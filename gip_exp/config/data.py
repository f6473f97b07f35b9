"""Where the rows come from (`data=`)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gip_exp.config.base import NEUTRAL, Positive, Section, Seed, Share


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
    split: str = "train"
    test_split: str | None = None


class Columns(Section):
    """Which columns of the rows hold what; null ones are found by their names.

    Attributes:
        prompt: One column, or several that are joined by an empty line; with `completion`.
        completion: The answer; with `prompt`.
        conversation: A column of turns, in place of those two.
        system, history, tools, reasoning: Further parts of the conversation.
        id: The rows' own ids, which `selected.jsonl` repeats.
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
                "data.columns.conversation is given in place of data.columns.prompt and .completion"
            )
        return self

    def chosen(self) -> dict[str, str | list[str]]:
        """The columns that are named, as `find_layout` takes them."""
        named = {"own_id" if name == "id" else name: value for name, value in self.model_dump().items()}
        return {name: value for name, value in named.items() if value}


class RowsData(Section):
    """Rows from files (one, several, or a folder with train and test files) or from the hub."""

    kind: Literal["rows"]
    shape: Literal["auto", "question_answer", "instruction", "prompt_completion", "messages", "preference"]
    drop_empty: bool  # leave out rows without a completion instead of refusing them
    drop_broken: bool = False  # leave out, and count, every row that cannot be used
    repeated: Literal["keep", "drop"] = "keep"  # rows whose texts stood before
    near_copies: Share | None = None  # drop rows that share as much of an earlier one's words
    contaminated: Literal["note", "drop"] = "note"  # rows that hold 13 words of a test question
    keep_rows: bool = False  # the selected rows as they were, beside the examples
    columns: Columns = Columns()  # where they are not found by their names
    path: Annotated[str | None, NEUTRAL] = None  # the rows' hash goes into the key instead
    allow_missing_shards: Annotated[bool, NEUTRAL] = False  # the shards that are there go into the key
    hub: Hub | None = None
    limit: Positive | None = None
    # Columns of the rows that are kept: numbers are a signal, texts a category.
    metadata: list[str] = Field(default_factory=list)
    # Of them, those in which a low number is good (losses, perplexity): content of score/metadata, not of the rows.
    lower_is_better: Annotated[list[str], NEUTRAL] = Field(default_factory=list)
    max_length: Annotated[Positive, NEUTRAL]

    @model_validator(mode="after")
    def _known_columns(self) -> "RowsData":
        if absent := [column for column in self.lower_is_better if column not in self.metadata]:
            raise ValueError(
                f"data.lower_is_better names {absent[0]!r}, which is not in data.metadata={self.metadata}: add it there"
            )
        return self


Data = Annotated[ArithmeticData | RowsData, Field(discriminator="kind")]
