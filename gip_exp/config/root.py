"""The whole config: its sections, and the stages that `until` can name."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from gip_exp.config.base import NEUTRAL, Name, Positive, Section, Seed
from gip_exp.config.data import Data
from gip_exp.config.distort import Distortion
from gip_exp.config.embedder import Embedder
from gip_exp.config.engine import Engine
from gip_exp.config.evaluation import Evaluations
from gip_exp.config.judge import Judge
from gip_exp.config.model import Model
from gip_exp.config.rubric import Rubric
from gip_exp.config.sampler import Sampler
from gip_exp.config.selector import OnScores, Selector, subtask_column
from gip_exp.config.target import Target
from gip_exp.config.tracking import Tracking
from gip_exp.config.train import LoraTrain, Train
from gip_exp.registry import selectors

STAGES = (
    "data", "contamination", "base", "score", "embed", "warmup", "gradients", "rank", "select", "train", "evaluate",
)  # fmt: skip


class Paths(Section):
    """Folders: everything is written below `root` (store, runs, sweeps)."""

    root: Path

    @field_validator("root", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if isinstance(given, str) and (not given.strip() or "\0" in given):
            raise ValueError(f"paths.root={given!r} must name a folder, e.g. outputs")
        return given


class Config(Section):
    """A complete configuration; the sections mirror the groups in `conf/`."""

    experiment: Name
    budget: int | float
    budget_unit: Literal["rows", "tokens"] = "rows"
    seed: Seed
    # above 1: select a part, train briefly, score with the tuned model, select the next part, ...
    rounds: Positive = 1
    rescore: Literal["ifd", "loss", "none"] = "ifd"  # the column that the tuned model adds to the scores
    untuned: Annotated[bool, NEUTRAL] = (
        True  # also evaluate the model before fine-tuning, as a run of its own
    )
    until: Annotated[Literal[STAGES] | None, NEUTRAL] = None  # type: ignore[valid-type]
    paths: Annotated[Paths, NEUTRAL]
    data: Data
    target: Target
    judge: Judge
    rubric: Rubric
    sampler: Sampler
    embedder: Embedder
    selector: Selector
    distort: Distortion = Distortion()
    model: Model
    train: Train
    engine: Engine
    evaluation: Evaluations = Evaluations()
    tracking: Annotated[Tracking, NEUTRAL]
    # formats in which the selected rows are also written
    export: Annotated[list[Literal["hf", "trl", "llamafactory", "axolotl"]], NEUTRAL] = Field(
        default_factory=list
    )

    @model_validator(mode="after")
    def _countable(self) -> "Config":
        if self.budget_unit == "rows":
            return self
        if not isinstance(self.train, LoraTrain):
            raise ValueError(
                "budget_unit=tokens counts the tokens of the fine-tuning, but train=none: choose train=lora (until=select "
                "stops before it), or budget_unit=rows"
            )
        if self.selector.kind != "ranking" and not selectors.find(self.selector.kind).nested:
            raise ValueError(
                f"budget_unit=tokens needs a ranking, but selector={self.selector.name} selects anew for every number of "
                "rows: use budget_unit=rows"
            )
        return self

    def before_tuning(self) -> "Config | None":
        """Return the run that evaluates the model before fine-tuning; None if this run has nothing to compare with it.

        It selects one random row, which nothing uses, so that runs with all selectors and budgets share it.
        """
        if not self.untuned or self.until or self.train.kind == "none" or not self.evaluation.chosen():
            return None
        values = self.model_dump(mode="json")
        chosen = {"kind": "random", "name": "untuned", "signal": "none", "seed": self.seed}
        values |= {"selector": chosen, "budget": 1, "budget_unit": "rows", "train": {"kind": "none"}}
        values |= {"distort": {}, "rounds": 1, "rescore": "ifd"}
        return Config.model_validate(values)

    @model_validator(mode="after")
    def _distortable(self) -> "Config":
        how, selector = self.distort, self.selector
        if how.embeddings == "adversarial" and selector.signal == "self_compression":
            raise ValueError(
                f"distort.embeddings=adversarial moves rows by their scores, but selector={selector.name} reads none: use "
                "rotation, projection or noise"
            )
        if {how.embeddings, how.scores} != {"none"} and getattr(selector, "processes", 1) > 1:
            raise ValueError("distort.* works in one process: set selector.processes=1")
        return self

    @model_validator(mode="after")
    def _in_rounds(self) -> "Config":
        if self.rounds == 1:
            return self
        if not isinstance(self.train, LoraTrain) or self.budget_unit != "rows":
            raise ValueError(
                f"rounds={self.rounds} selects and trains in turns: it needs train=lora and budget_unit=rows, or use rounds=1"
            )
        if self.train.steps is not None and self.train.steps < self.rounds:
            raise ValueError(
                f"rounds={self.rounds} needs a step for each round, but train.steps={self.train.steps}"
            )
        scored = isinstance(self.selector, OnScores) and self.selector.signal != "self_compression"
        if self.rescore != "none" and not scored:
            raise ValueError(
                f"rounds={self.rounds} adds what the tuned model finds to the scores, but selector={self.selector.name} reads "
                "none: choose a selector on scores (mp_ma, mp_ma_sc, top_score), rescore=none, or rounds=1"
            )
        if self.selector.kind in ("less", "ranking") or not selectors.find(self.selector.kind).nested:
            raise ValueError(
                f"rounds={self.rounds} is not possible with selector={self.selector.name}: use rounds=1"
            )
        if getattr(self.selector, "processes", 1) > 1:
            raise ValueError("rounds above 1 select in one process: set selector.processes=1")
        return self

    @property
    def embedder_used(self) -> Embedder:
        """The embedder of the selector if it has one of its own, else that of the experiment."""
        return getattr(self.selector, "embedder", None) or self.embedder

    @model_validator(mode="after")
    def _subtasks(self) -> "Config":
        column, known = subtask_column(self.selector), getattr(self.data, "metadata", [])
        if column is not None and column not in known:
            raise ValueError(
                f"selector.subtasks={column!r} is no column of data.metadata={list(known)}: use one, rows or clusters, or "
                f"add the column there (rows from files only): data.metadata=[{column}]"
            )
        return self

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
                values = {
                    **values,
                    "budget": 1.0,
                    "budget_unit": "rows",
                }  # independent of the budgets of a sweep
        return values
