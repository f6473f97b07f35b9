"""One cell of an experiment, from a composed config to the closing table; and planned cells, from their files."""

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
from gip_exp.runs.lock import attempt, stoppable
from gip_exp.sweep import plan_folder


def run_cell(composed: Mapping[str, Any], cell: str = "") -> None:
    """Validate, run, show. A failure is printed here, where it belongs to its cell, and raised to the caller.

    `cell` names the cell of a sweep by its overrides.
    """
    quiet_libraries()
    console = Console()
    try:
        with stoppable():
            _run(parse(composed), console)
    except UserError as error:
        _tell(error, console, cell)
        raise


def run_files(arguments: Sequence[str]) -> int:
    """`--cell FILE ... [key=value ...]`: run resolved configs one after the other; 2 if any of them failed.

    A failed cell ends no other. In a plan, `states/` says who is at work on a cell and how that ended.
    """
    files = [Path(text) for text in arguments if "=" not in text]
    overrides = [text for text in arguments if "=" in text]
    if not files:
        raise UserError(
            "--cell needs a file that gip_exp.plan wrote: --cell DIR/cells/000.yaml [until=select]"
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
    with attempt(plan / plan_folder.STATES, path.stem, console.warn):
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
            f"{' '.join(overrides)} would change the result of {path}: beside --cell only settings that cannot are "
            "allowed (until, engine.device, batch sizes, tracking, ...); for other results plan again"
        )
    return config


def _as_planned(config: Config, plan: Path, path: Path) -> None:
    from gip_exp import pipeline, result

    folder = result.run_folder(config, pipeline.run_key(config)).resolve()
    expected = next((cell.run for cell in plan_folder.read(plan) if cell.name == path.stem), None)
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


_TOLD: dict[str, str] = {}  # what this process said of its cells, and of which one first


def _tell(error: UserError, console: Console, cell: str) -> None:
    """Say it, with the cell where there are several: in full once, however many of a sweep's cells lack the same."""
    first = _TOLD.setdefault(str(error), cell)
    what = str(error) if first == cell else f"the same as in {first}"
    console.say(f"error in {cell}: {what}" if cell else f"error: {what}", style="red")
    error.shown = os.getpid()  # type: ignore[attr-defined]  # here; a sweep's own process may be another one


def show(result: Mapping[str, Any], console: Console) -> None:
    """The closing tables: metrics with intervals, then the stages with seconds and what was reused."""
    if result["metrics"]:
        metrics = Table("metric", "value", "95 % interval", "n", title=None, title_justify="left")
        for name, metric in result["metrics"].items():
            metrics.add_row(
                name,
                f"{metric['value']:.4f}",
                f"{metric['low']:.4f} to {metric['high']:.4f}",
                str(metric["n"]),
            )
        console.table(metrics)
    table = Table("stage", "seconds", "", "key")
    for name, stage in result["stages"].items():
        table.add_row(name, f"{stage['seconds']:.1f}", "reused" if stage["cached"] else "made", stage["key"])
    console.table(table)
    selected = result["n_selected"]
    if selected is not None:
        held_out = f" ({result['n_target']:,} more are held out as the target)" if result["n_target"] else ""
        console.say(f"  {selected:,} of {result['n_pool']:,} examples by {result['selector']}{held_out}")
    if result["stages"] and all(stage["cached"] for stage in result["stages"].values()):
        console.say("  every stage was reused: nothing was computed again")


def say_what_to_do(result: Mapping[str, Any], folder: Path, console: Console) -> None:
    """Where the subset of a run that stops at it lies, the file for any trainer last."""
    if result["selector"] == "mp_sc":
        console.say("  mp_sc looks for variety only; selector=mp_ma also weighs a judge's scores (judge=...)")
    if (folder / SELECTED_ROWS).is_file():
        console.say(f"  the rows as your data has them: {folder / SELECTED_ROWS}")
    console.say(f"  prompt and completion, best first: {folder / SELECTED}")
