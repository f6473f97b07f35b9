"""Runs of one experiment on different data: each data set becomes a group of its own."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gip_exp.report.neutral import is_neutral
from gip_exp.report.run import Run
from gip_exp.report.runs import PATH
from gip_exp.report.study import shown

DATA = "data"  # stands for the key of the rows in the store


def apart(runs: Sequence[Run]) -> list[Run]:
    """Return the runs with their data in the name of the experiment, where one experiment has runs on different data.

    What differs names the data: the file, else the settings of `data`, else the key of the rows in the store (files of
    one name with another content). Seeds of a generated pool have different data and stay together.
    """
    named = []
    for experiment in dict.fromkeys(run.experiment for run in runs):
        peers = [run for run in runs if run.experiment == experiment]
        keys, paths = _telling(peers), _short_paths(peers)
        for run in peers:
            label = shown(tuple((key, paths.get(value, value)) for key, value in _values(run, keys)))
            named.append(replace(run, result={**run.result, "experiment": experiment + label}))
    return named


def _telling(runs: Sequence[Run]) -> list[str]:
    """Return the fewest keys, in the order tried, by whose values runs of one seed and different data differ."""
    settings = sorted({key for run in runs for key in run.settings if _is_setting(key)})
    keys: list[str] = []
    for key in (PATH, *settings, DATA):
        mixed = _mixed(runs, keys)
        if mixed and _mixed(runs, [*keys, key]) < mixed:
            keys.append(key)
    return keys


def _mixed(runs: Sequence[Run], keys: Sequence[str]) -> int:
    """Count the data sets too many: beyond one for each seed and values of `keys`."""
    found: dict[Any, set[str]] = {}
    for run in runs:
        found.setdefault((run.seed, _values(run, keys)), set()).add(run.data_key)
    return sum(len(data) - 1 for data in found.values())


def _values(run: Run, keys: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple((key, run.data_key[:8] if key == DATA else _text(run.settings.get(key))) for key in keys)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _is_setting(key: str) -> bool:
    return key.startswith("data.") and not is_neutral(key) and not key.endswith((".seed", ".name"))


def _short_paths(runs: Sequence[Run]) -> dict[str, str]:
    """Return the file name of each path, or the path where two have one name."""
    paths = {str(run.settings[PATH]) for run in runs if run.settings.get(PATH)}
    names = [Path(path).name for path in paths]
    return {path: Path(path).name if names.count(Path(path).name) == 1 else path for path in paths}
