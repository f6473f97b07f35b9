"""One run folder as data: its result, settings, per-question answers and selected rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gip_exp.runs.records import RunResult, StageRecord

DONE, FAILED, UNFINISHED, STOPPED, SUPERSEDED = "done", "failed", "unfinished", "stopped", "superseded"
TOKENS = "tokens"  # budget_unit


@dataclass(frozen=True)
class Answer:
    """The outcome of one question, and its reference answer (which identifies what was asked)."""

    value: float
    reference: str


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes:
        folder: its path.
        result: content of `result.json`.
        settings: its config, flattened to `section.key`, lists as JSON; empty without a config.yaml.
        answers: metric -> question id -> answer.
        selected: ids of the selected rows; not read for `full`.
        modified: time of `result.json`, seconds since the epoch.
    """

    folder: Path
    result: RunResult
    settings: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, Mapping[str, Answer]] = field(default_factory=dict)
    selected: frozenset[str] = frozenset()
    modified: float = 0.0

    @property
    def experiment(self) -> str:
        """Name of the experiment."""
        return self.result["experiment"]

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.result["model"]

    @property
    def selector(self) -> str:
        """Name of the selector."""
        return self.result["selector"]

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.result["seed"]

    @property
    def budget(self) -> int | float:
        """The budget as configured: a count or a share."""
        return self.result["budget"]

    @property
    def n_selected(self) -> int | None:
        """Rows selected; None if the run stopped before."""
        return self.result.get("n_selected")

    @property
    def budget_unit(self) -> str:
        """Unit of the budget: rows or tokens."""
        return self.result.get("budget_unit", "rows")

    @property
    def size(self) -> tuple[str, int | float]:
        """What runs of one cell share: the rows selected, or the budget in tokens."""
        return (TOKENS, self.budget) if self.budget_unit == TOKENS else ("rows", self.n_selected or 0)

    @property
    def mean_words(self) -> float | None:
        """Words of a selected row; None in results of earlier versions and for the untuned base."""
        return self.result.get("mean_words") if self.tuned else None

    @property
    def trained_tokens(self) -> float | None:
        """Tokens seen in the fine-tuning, all epochs together; None without it."""
        return (self.result.get("training") or {}).get("tokens")

    @property
    def trained_steps(self) -> float | None:
        """Optimiser steps of the fine-tuning; None without it."""
        return (self.result.get("training") or {}).get("steps")

    @property
    def n_pool(self) -> int | None:
        """Rows of the pool."""
        return self.result.get("n_pool")

    @property
    def status(self) -> str:
        """done, stopped, failed; the full text (`stopped:select`) stays in `result`."""
        return self.result["status"].partition(":")[0]

    @property
    def stages(self) -> Mapping[str, StageRecord]:
        """Key and seconds of each stage."""
        return self.result["stages"]

    @property
    def data_key(self) -> str:
        """Key of the rows in the store; '' if there is none."""
        return self.stages["data"]["key"] if "data" in self.stages else ""

    @property
    def subset(self) -> Mapping[str, Any]:
        """Quality and coverage of the subset, where the pool has labels."""
        return self.result.get("subset") or {}

    @property
    def categories(self) -> Mapping[str, Mapping[str, Mapping[str, int]]]:
        """Text column of `data.metadata` -> value -> rows with it in `pool` and `selected`."""
        return self.result.get("categories") or {}

    @property
    def tuned(self) -> bool:
        """Whether the model was fine-tuned: by the config, else by the stages of the result."""
        kind = self.settings.get("train.kind")
        return kind != "none" if kind is not None else "train" in self.stages


@dataclass(frozen=True)
class Unfinished:
    """A run folder without numbers: failed (with its error), or without a result."""

    folder: Path
    status: str
    reason: str


@dataclass(frozen=True)
class Found:
    """Every run below a folder: those with numbers, and the others."""

    root: Path
    runs: tuple[Run, ...]
    others: tuple[Unfinished, ...]
