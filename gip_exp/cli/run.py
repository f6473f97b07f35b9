"""One run of an experiment, from a composed config to the closing table; and planned runs, from their files."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from gip_exp.config import Config, parse
from gip_exp.config.base import content
from gip_exp.console import Console
from gip_exp.errors import UserError
from gip_exp.quiet import quiet_libraries
from gip_exp.runs.folder import SELECTED, SELECTED_ROWS
from gip_exp.runs.lock import run_lock, stoppable
from gip_exp.runs.records import Metric, RunResult, StageRecord
from gip_exp.sweep import plan_folder


def run_composed(composed: Mapping[str, Any], overrides: str = "") -> None:
    """Validate, run, show. A failure is printed here, where it belongs to its run, and raised to the caller.

    `overrides` names the run of a sweep.
    """
    quiet_libraries()
    console = Console()
    try:
        with stoppable():
            _run(parse(composed), console)
    except UserError as error:
        _tell(error, console, overrides)
        raise


def run_files(arguments: Sequence[str]) -> int:
    """`--planned FILE ... [key=value ...]`: run resolved configs one after the other; 2 if any of them failed.

    A failed run ends no other. In a plan, `states/` says who is at work on a run and how that ended.
    """
    files = [Path(text) for text in arguments if "=" not in text]
    overrides = [text for text in arguments if "=" in text]
    if not files:
        raise UserError(
            "--planned needs a file that gip_exp.plan wrote: --planned DIR/runs/000.yaml [until=select]"
        )
    quiet_libraries()
    console, failed = Console(), 0
    for path in files:
        try:
            with stoppable():
                _run_file(path, overrides, console)
        except UserError as error:
            _tell(error, console, str(path) if len(files) > 1 else "")
            failed += 1
    return 2 if failed else 0


def _run_file(path: Path, overrides: Sequence[str], console: Console) -> None:
    plan = plan_folder.folder_of(path)
    if plan is None:
        _run(_read(path, overrides), console)
        return
    with run_lock(plan / plan_folder.STATES, path.stem, console.warn):
        config = _read(path, overrides)
        _as_planned(config, plan, path)
        _run(config, console)


def _read(path: Path, overrides: Sequence[str]) -> Config:
    try:
        config = parse(plan_folder.read_config(path, overrides))
        as_planned = parse(plan_folder.read_config(path, ())) if overrides else config
    except UserError as error:
        raise error if str(path) in str(error) else UserError(f"{path}: {error}") from None
    if content(config) != content(as_planned):
        raise UserError(
            f"{' '.join(overrides)} would change the result of {path}: beside --planned only settings that cannot are "
            "allowed (until, engine.device, batch sizes, tracking, ...); for other results plan again"
        )
    return config


def _as_planned(config: Config, plan: Path, path: Path) -> None:
    from gip_exp import pipeline, result

    folder = result.run_folder(config, pipeline.run_key(config)).resolve()
    expected = next((run.folder for run in plan_folder.read(plan) if run.name == path.stem), None)
    if expected != str(folder):
        raise UserError(
            f"{path} is no longer what was planned (run {expected}, now {folder}): its file, the data's or model's "
            "files or the code changed since; plan again into a new folder"
        )


def _run(config: Config, console: Console) -> None:
    from gip_exp import pipeline

    outcome = pipeline.run(config, console)
    show(outcome.result, console)
    if config.until == "select":
        say_what_to_do(outcome.result, outcome.folder, console)
    else:
        console.say(f"  {outcome.folder}")


_TOLD: dict[str, str] = {}  # what this process said of its runs, and of which one first


def _tell(error: UserError, console: Console, overrides: str) -> None:
    """Say it, with the run where there are several: in full once, however many of a sweep's runs lack the same."""
    first = _TOLD.setdefault(str(error), overrides)
    what = str(error) if first == overrides else f"the same as in {first}"
    console.say(f"error in {overrides}: {what}" if overrides else f"error: {what}", style="red")
    error.shown = os.getpid()  # type: ignore[attr-defined]  # here; a sweep's own process may be another one


def show(result: RunResult, console: Console) -> None:
    """The closing tables: metrics with intervals, then the stages with seconds and what was reused."""
    if result["metrics"]:
        metrics = Table("metric", "value", "95 % interval", "n", title=None, title_justify="left")
        for name, metric in result["metrics"].items():
            metrics.add_row(name, *_cells(metric))
            for length, others in result["contamination"].get("metrics_without", {}).items():
                if name in others:
                    metrics.add_row(f"  without questions that share {length} words", *_cells(others[name]))
        console.table(metrics)
    table = Table("stage", "seconds", "", "key")
    for name, stage in result["stages"].items():
        table.add_row(name, f"{stage['seconds']:.1f}", _how(stage), stage["key"])
    console.table(table)
    for name, stage in result["stages"].items():
        if changed := _changed(stage):
            console.say(
                f"  {name} was made again because its code changed: {', '.join(changed)}", style="yellow"
            )
    selected = result["n_selected"]
    if selected is not None:
        held_out = f" ({result['n_target']:,} more are held out as the target)" if result["n_target"] else ""
        console.say(f"  {selected:,} of {result['n_pool']:,} examples by {result['selector']}{held_out}")
    if result["categories"]:
        categories = Table("category", "value", "pool", "subset")
        for column, values in result["categories"].items():
            for value, n in values.items():
                categories.add_row(column, value, f"{n['pool']:,}", f"{n['selected']:,}")
        console.table(categories)
    if result["stages"] and all(stage["cached"] for stage in result["stages"].values()):
        console.say("  every stage was reused: nothing was computed again")


def _changed(stage: StageRecord) -> list[str]:
    """The source files for which a stage was made again."""
    parts = [stage, *stage.get("parts", {}).values()]
    return sorted({file for part in parts for file in part.get("changed_code", ())})


def _how(stage: StageRecord) -> str:
    """Reused, made, or made again because its code changed."""
    if _changed(stage):
        return "made again"
    return "reused" if stage["cached"] else "made"


def _cells(metric: Metric) -> tuple[str, str, str]:
    """Value, interval and number of questions; a single question has no interval."""
    low, high = (f"{bound:.4f}" if bound is not None else "?" for bound in (metric["low"], metric["high"]))
    return f"{metric['value']:.4f}", f"{low} to {high}", str(metric["n"])


def say_what_to_do(result: RunResult, folder: Path, console: Console) -> None:
    """Where the subset of a run that stops at it lies, the file for any trainer last."""
    if result["selector"] == "mp_sc":
        console.say("  mp_sc looks for variety only; selector=mp_ma also weighs a judge's scores (judge=...)")
    if (folder / SELECTED_ROWS).is_file():
        console.say(f"  the rows as your data has them: {folder / SELECTED_ROWS}")
    console.say(f"  prompt and completion, best first: {folder / SELECTED}")
