"""Read run folders: `result.json`, `config.yaml`, `selected.jsonl`, `predictions/<metric>.jsonl`.

A folder is a run if it holds a `result.json` or a `config.yaml`; one without a result is unfinished. Everything
that cannot be read is reported together, and nothing is left out silently.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gip_exp.errors import UserError, printable
from gip_exp.report.names import FULL
from gip_exp.report.neutral import is_neutral
from gip_exp.runs.folder import CONFIG, PREDICTIONS, RESULT, SELECTED, below
from gip_exp.runs.records import Metric, RunResult, StageRecord, parse_result

DONE, FAILED, UNFINISHED, STOPPED, SUPERSEDED = "done", "failed", "unfinished", "stopped", "superseded"
METRIC = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")  # it names a file too
PATH = "data.path"  # cannot change a result as such, because the files count; but it tells data sets apart
TOKENS = "tokens"  # budget_unit
TOLERANCE = 1e-9  # relative: between a metric in result.json and the mean of its per-question outcomes


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


def read_runs(root: Path) -> Found:
    """Read all runs below `root`; UserError lists what is damaged, or why there is nothing to report."""
    if not root.is_dir():
        raise UserError(f"DIR={root} is not a folder: give the folder that holds the runs, e.g. outputs/runs")
    runs: list[Run] = []
    others: list[Unfinished] = []
    problems: list[str] = []
    for folder in below(root):
        try:
            read = _read(folder)
        except ValueError as error:
            problems.append(str(error))
            continue
        (others if isinstance(read, Unfinished) else runs).append(read)  # type: ignore[arg-type]
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise UserError(
            f"{len(problems)} of the runs below {root} cannot be used: run them again, "
            f"or delete their folders{lines}"
        )
    if not runs:
        raise UserError(_nothing(root, others))
    latest, older = _latest(runs)
    return Found(root, tuple(latest), (*others, *older))


def _latest(runs: Sequence[Run]) -> tuple[list[Run], list[Unfinished]]:
    """Leave out a run whose settings were run again on other data: its rows were read from other files or by older code.

    Other runs of the same settings are sorted out where they would count twice (`arrange`).
    """
    newest: dict[str, Run] = {}
    names: dict[Path, str] = {}
    for run in sorted(runs, key=lambda run: run.modified):
        kept = {key: value for key, value in run.settings.items() if not is_neutral(key) or key == PATH}
        asked = [run.experiment, run.model, run.selector, run.budget, run.seed, sorted(run.answers)]
        names[run.folder] = json.dumps([asked, kept], sort_keys=True) if kept else str(run.folder)
        newest[names[run.folder]] = run
    current = [run for run in runs if run.data_key == newest[names[run.folder]].data_key]
    why = "the same settings were run again on other data (files or code changed): the newest counts"
    older = [Unfinished(run.folder, SUPERSEDED, why) for run in runs if run not in current]
    return current, older


def _nothing(root: Path, others: list[Unfinished]) -> str:
    if not others:
        return (
            f"there are no runs below {root} (no folder with a {RESULT}): give the folder that holds the "
            "runs, e.g. outputs/runs, or make some first: python -m gip_exp +experiment=quickstart"
        )
    lines = "\n".join(f"  {other.status}: {other.folder} ({other.reason})" for other in others)
    return (
        f"none of the {len(others)} runs below {root} is finished, so there is nothing to report; run them again, or wait "
        f"for those that still run:\n{lines}"
    )


def _read(folder: Path) -> Run | Unfinished:
    path = folder / RESULT
    if not path.is_file():
        return Unfinished(folder, UNFINISHED, f"no {RESULT}: still running, or killed")
    try:
        result = parse_result(_spelt_out(_json(path)))
    except ValueError as error:
        raise error if str(path) in str(error) else ValueError(f"{path} cannot be used: {error}") from None
    settings = _spelt_out(_settings(folder / CONFIG))
    run = Run(folder, result, settings, modified=path.stat().st_mtime)
    if run.status == FAILED:
        return Unfinished(folder, FAILED, str(result.get("error", "no reason recorded")))
    if run.status == STOPPED and run.n_selected is None:
        return Unfinished(folder, str(result["status"]), "stopped on request before anything was selected")
    answers = {name: _answers(folder, name, metric) for name, metric in result["metrics"].items()}
    return replace(run, answers=answers, selected=_selected(folder, run.selector))


def _selected(folder: Path, selector: str) -> frozenset[str]:
    path = folder / SELECTED
    if selector == FULL or not path.is_file():
        return frozenset()
    try:
        return frozenset(str(row["id"]) for row in _rows(path))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} has a row without an id ({error!r})") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged or incomplete ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} is damaged: it holds no JSON object")
    return value


def _spelt_out(value: Any) -> Any:
    """Return the same values without control characters: they go into pages, figures and terminals."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_spelt_out(item) for item in value]
    if isinstance(value, dict):
        return {_spelt_out(key): _spelt_out(item) for key, item in value.items()}
    return value


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise ValueError(f"{path}, line {number}, is damaged or incomplete ({error})") from error
    return rows


def _answers(folder: Path, name: str, metric: Metric) -> dict[str, Answer]:
    """Return the per-question outcomes after comparing their mean with the metric in `result.json`."""
    if not METRIC.fullmatch(name) or ".." in name:
        raise ValueError(
            f"{folder / RESULT} gives {name[:80]!r}, which is not a metric name (like gsm8k/exact_match)"
        )
    path = folder / PREDICTIONS / f"{name}.jsonl"
    if not path.is_file():
        raise ValueError(
            f"{folder / RESULT} gives {name}, but {path} is missing: its per-question outcomes are needed"
        )
    try:
        answers = {str(row["id"]): Answer(float(row["value"]), str(row["reference"])) for row in _rows(path)}
    except (KeyError, TypeError, ValueError) as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} has a row without id, value or reference ({error!r})") from error
    mean = sum(answer.value for answer in answers.values()) / max(1, len(answers))
    if len(answers) != metric["n"] or abs(mean - metric["value"]) > TOLERANCE * max(1.0, abs(mean)):
        raise ValueError(
            f"{path} has {len(answers)} outcomes with mean {mean:.6g}, but {RESULT} says "
            f"{metric['value']:.6g} over {metric['n']}: one of the two is incomplete or from another run's"
        )
    return answers


def _settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    import yaml

    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is damaged or incomplete ({str(error).splitlines()[0]})") from error
    if not isinstance(loaded, dict | None):
        raise ValueError(f"{path} is damaged: it holds no settings")
    return dict(_flat(loaded or {}, ""))


def _flat(section: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value) if isinstance(value, list) else value
