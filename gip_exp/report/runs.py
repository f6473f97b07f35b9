"""Read run folders: `result.json`, `config.yaml`, `selected.jsonl`, `predictions/<metric>.jsonl`.

A folder is a run if it holds a `result.json` or a `config.yaml`; one without a result is unfinished. Everything
that cannot be read is reported together, and nothing is left out silently.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gip_exp.errors import UserError, printable
from gip_exp.report.names import FULL
from gip_exp.report.neutral import is_neutral
from gip_exp.report.run import FAILED, STOPPED, SUPERSEDED, UNFINISHED, Answer, Found, Run, Unfinished
from gip_exp.runs.folder import CONFIG, PREDICTIONS, RESULT, SELECTED, below
from gip_exp.runs.records import Metric, parse_result

METRIC = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")  # it names a file too
PATH = "data.path"  # cannot change a result as such, because the files count; but it tells data sets apart
TOLERANCE = 1e-9  # relative: between a metric in result.json and the mean of its per-question outcomes


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
