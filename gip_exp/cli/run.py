"""One run of an experiment, from a composed config to the closing table; and planned runs, from their files."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
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
from gip_exp.sweep import expand, plan_folder


def run_composed(values: Mapping[str, Any]) -> None:
    """One run from a composed config. Raises UserError."""
    quiet_libraries()
    with stoppable():
        _run(parse(values), Console())


def run_sweep(overrides: Sequence[str], config_dir: str | None) -> int:
    """Every run of a sweep, one after the other; 2 if any of them failed. All of them are composed before the first."""
    sweep = expand.expand(overrides, config_dir)
    composed = list(expand.compose(sweep, config_dir))
    names = [" ".join(texts) for texts in expand.swept(sweep)]

    def start(values: Mapping[str, Any], console: Console) -> None:
        _run(parse(values), console)

    return _one_after_the_other(
        [(name, partial(start, values)) for name, values in zip(names, composed, strict=True)]
    )


def run_files(arguments: Sequence[str]) -> int:
    """`--planned FILE ... [key=value ...]`: run resolved configs one after the other; 2 if any of them failed.

    In a plan, `states/` says who is at work on a run and how that ended.
    """
    files = [text for text in arguments if "=" not in text]
    overrides = [text for text in arguments if "=" in text]
    if not files:
        raise UserError(
            "--planned needs a file that gip_exp.plan wrote: --planned DIR/runs/000.yaml [until=select]"
        )
    return _one_after_the_other([(file, partial(_run_file, Path(file), overrides)) for file in files])


def _one_after_the_other(runs: Sequence[tuple[str, Callable[[Console], None]]]) -> int:
    """Named runs; one that fails is told and ends no other."""
    quiet_libraries()
    console = Console()
    failed: dict[str, str] = {}  # message -> the first run that ended with it
    for name, run in runs:
        try:
            with stoppable():
                run(console)
        except UserError as error:
            first = failed.setdefault(str(error), name)
            told = str(error) if first == name else f"the same as in {first}"
            console.say(f"error in {name}: {told}" if len(runs) > 1 else f"error: {told}", style="red")
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
