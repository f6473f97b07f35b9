"""Runs, sweeps and planned runs, each up to the tables that are printed at the end."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import isnan
from pathlib import Path
from typing import Any

from rich.table import Table

from gip_exp.config import STAGES, Config, parse
from gip_exp.config.base import content
from gip_exp.console import Console
from gip_exp.errors import Answered, UserError
from gip_exp.judgements import known_flaws
from gip_exp.quiet import quiet_libraries
from gip_exp.runs.folder import SCORED_ROWS, SELECTED, SELECTED_ROWS, SELECTION_PAGE
from gip_exp.runs.lock import run_lock, stoppable
from gip_exp.runs.records import Metric, RunResult, StageRecord
from gip_exp.sweep import expand, plan_folder

SHOWN_METRICS = 4  # columns of the table after a sweep


def run_composed(values: Mapping[str, Any]) -> None:
    """Run a composed config. Raises UserError."""
    quiet_libraries()
    with stoppable():
        _run(parse(values), Console())


def run_sweep(overrides: Sequence[str], config_dir: str | None) -> int:
    """Run a sweep, after composing all of its runs; return the exit code: 2 if a run failed."""
    sweep = expand.expand(overrides, config_dir)
    composed = list(expand.compose(sweep, config_dir))
    names = [" ".join(texts) for texts in expand.swept(sweep)]

    def start(values: Mapping[str, Any], console: Console) -> RunResult:
        return _run(parse(values), console)

    return _run_all([(name, partial(start, values)) for name, values in zip(names, composed, strict=True)])


def run_files(arguments: Sequence[str]) -> int:
    """Run resolved configs (`--planned FILE ... [key=value ...]`); return the exit code: 2 if a run failed.

    For the runs of a plan, the process and its outcome are recorded in `states/`.
    """
    files = [text for text in arguments if "=" not in text]
    overrides = [text for text in arguments if "=" in text]
    if not files:
        raise UserError(
            "--planned needs a file written by gip_exp.plan: --planned DIR/runs/000.yaml [until=select]"
        )
    return _run_all([(file, partial(_run_file, Path(file), overrides)) for file in files])


def _run_all(runs: Sequence[tuple[str, Callable[[Console], RunResult]]]) -> int:
    """Run all, printing the errors of those that fail; return the exit code."""
    quiet_libraries()
    console = Console()
    failed: dict[str, list[str]] = {}  # message -> names of the runs that failed with it
    results: dict[str, RunResult] = {}
    for number, (name, run) in enumerate(runs, 1):
        if len(runs) > 1:
            console.say(f"run {number} of {len(runs)}: {name}", style="bold")
        try:
            with stoppable():
                results[name] = run(console)
        except Answered as answer:
            console.say(str(answer))
        except UserError as error:
            alike = failed.setdefault(str(error), [])
            alike.append(name)
            message = f"the same as in {alike[0]}" if len(alike) > 1 else str(error)
            console.say(f"error in {name}: {message}" if len(runs) > 1 else f"error: {message}", style="red")
    for message, names in failed.items():
        if len(names) > 1:  # the message itself is many lines above
            console.say(f"{len(names)} of {len(runs)} runs failed, first {names[0]}: {message}", style="red")
    if len(results) > 1:
        console.table(_side_by_side(results))
        console.say(
            "  tables with intervals and figures of all runs: gip-exp report FOLDER (the value of paths.root)"
        )
    return 2 if failed else 0


def _side_by_side(results: Mapping[str, RunResult]) -> Table:
    """Return the runs of a sweep with their metrics, or without evaluations the measures of their subsets."""
    values = {
        name: {metric: f"{found['value']:.4f}" for metric, found in result["metrics"].items()}
        or {measure: _short(found["subset"]) for measure, found in result.get("measures", {}).items()}
        for name, result in results.items()
    }
    names = list(dict.fromkeys(name for found in values.values() for name in found))[:SHOWN_METRICS]
    table = Table("run", "rows", *(name.replace("/", "/\n") for name in names))
    table.columns[0].overflow = "fold"  # cut, the names of runs are all alike
    for column in table.columns[1:]:
        column.justify = "right"
    for name, result in results.items():
        rows = result["n_selected"]
        table.add_row(name, f"{rows:,}" if rows else "", *(values[name].get(one, "") for one in names))
    return table


def _run_file(path: Path, overrides: Sequence[str], console: Console) -> RunResult:
    plan = plan_folder.folder_of(path)
    if plan is None:
        return _run(_read(path, overrides, console), console)
    with run_lock(plan / plan_folder.STATES, path.stem, console.warn):
        config = _read(path, overrides, console)
        _check_unchanged(config, plan, path)
        return _run(config, console)


def _read(path: Path, overrides: Sequence[str], console: Console) -> Config:
    try:
        config = parse(plan_folder.read_config(path, overrides))
        planned = parse(plan_folder.read_config(path, ())) if overrides else config
    except UserError as error:
        raise error if str(path) in str(error) else UserError(f"{path}: {error}") from None
    if content(config) != content(planned):
        raise UserError(
            f"{' '.join(overrides)} would change the result of {path}: with --planned only settings that do not affect "
            "results are allowed (until, engine.device, batch sizes, tracking, ...); for other results plan again"
        )
    return _stopped_as_planned(config, planned, console)


def _stopped_as_planned(config: Config, planned: Config, console: Console) -> Config:
    """Return the config with the planned `until`, if that comes before the one given for a phase (until=select)."""
    if not planned.until or (config.until and STAGES.index(config.until) <= STAGES.index(planned.until)):
        return config
    console.warn(f"the run is planned up to {planned.until} (until={planned.until}) and stops there")
    return config.model_copy(update={"until": planned.until})


def _check_unchanged(config: Config, plan: Path, path: Path) -> None:
    """Raise UserError if a planned run would no longer give the planned result."""
    from gip_exp import graph, result

    folder = result.run_folder(config, graph.run_key(config)).resolve()
    expected = next((run.folder for run in plan_folder.read(plan) if run.name == path.stem), None)
    if expected != str(folder):
        raise UserError(
            f"{path} is no longer what was planned (run {expected}, now {folder}): the file, the files of the data or the "
            "model, or the code changed since; plan again into a new folder"
        )


def _run(config: Config, console: Console) -> RunResult:
    """Run a config and, if no run has done so, evaluate its model before fine-tuning."""
    from gip_exp import graph, pipeline, result

    outcome = pipeline.run(config, console)
    show(outcome.result, console)
    if config.until == "select":
        show_files(outcome.result, outcome.folder, console)
    if adapter := outcome.result.get("adapter"):
        console.say(
            f"  the adapter: {config.paths.root / adapter} (gip-exp export-adapter RUN DIR copies it)"
        )
    base = config.before_tuning()
    if base is not None and not result.is_done(result.run_folder(base, graph.run_key(base))):
        console.say("  the same model before fine-tuning, for the report (untuned=false leaves it out)")
        show(pipeline.run(base, console).result, console)
    print(outcome.folder, flush=True)  # alone on stdout, for scripts
    return outcome.result


def show(result: RunResult, console: Console) -> None:
    """Print the metrics with intervals, the stages, the number of selected rows and the categories."""
    if result["metrics"]:
        console.table(_metrics(result))
    stages = Table("stage", "seconds", "", "key")
    for name, stage in result["stages"].items():
        stages.add_row(name, f"{stage['seconds']:.1f}", _origin(stage), stage["key"])
    console.table(stages)
    for name, stage in result["stages"].items():
        if changed := _changed(stage):
            console.say(
                f"  {name} was made again because its code changed: {', '.join(changed)}", style="yellow"
            )
    _show_judge(result, console)
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
        console.say("  all stages were reused; nothing was computed")


def _show_judge(result: RunResult, console: Console) -> None:
    """Print how the judge's scores tell sound rows from rows with known flaws, if the data have labels."""
    found = result["flaw_detection"]
    if told := known_flaws.line(str(result["judge"]), found):
        console.say(f"  {told}")
    if doubt := known_flaws.warning(found):
        console.warn(doubt)


def _metrics(result: RunResult) -> Table:
    table = Table("metric", "value", "95 % interval", "n", title=None, title_justify="left")
    for name, metric in result["metrics"].items():
        table.add_row(name, *_cells(metric))
        for length, others in result["contamination"].get("metrics_without", {}).items():
            if name in others:
                table.add_row(f"  without questions that share {length} words", *_cells(others[name]))
    return table


def _changed(stage: StageRecord) -> list[str]:
    """Return the source files whose changes made a new output necessary."""
    parts = [stage, *stage.get("parts", {}).values()]
    return sorted({file for part in parts for file in part.get("changed_code", ())})


def _origin(stage: StageRecord) -> str:
    """Return whether the output was reused, made, or made again because its code changed."""
    if _changed(stage):
        return "made again"
    return "reused" if stage["cached"] else "made"


def _cells(metric: Metric) -> tuple[str, str, str]:
    """Format value, interval (unknown for a single question) and number of questions."""
    low, high = (f"{bound:.4f}" if bound is not None else "?" for bound in (metric["low"], metric["high"]))
    return f"{metric['value']:.4f}", f"{low} to {high}", str(metric["n"])


def show_files(result: RunResult, folder: Path, console: Console) -> None:
    """Print the numbers of the subset beside those of random subsets, and the files of the selected rows."""
    console.table(_compared(result["measures"]))
    if result["selector"] == "mp_sc":
        console.say("  mp_sc looks for variety only; selector=mp_ma also weighs a judge's scores (judge=...)")
    elif result["judge"] == "rules":
        console.say("  judge=rules sees flaws on the surface only; judge=openai and judge=vllm read the rows")
    if (folder / SELECTED_ROWS).is_file():
        console.say(f"  the rows as your data has them: {folder / SELECTED_ROWS}")
    console.say(f"  prompt and completion, best first: {folder / SELECTED}")
    console.say(f"  every row with its scores: {folder / SCORED_ROWS}")
    console.say(f"  what was taken and what was left: {folder / SELECTION_PAGE}")


def _compared(measures: Mapping[str, Mapping[str, float | None]]) -> Table:
    table = Table("measure", "subset", "pool", "random subsets")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, values in measures.items():
        low, high = values["random_low"], values["random_high"]
        table.add_row(
            name,
            _short(values["subset"]),
            _short(values["pool"]),
            f"{_short(low)} to {_short(high)}" if low is not None else "",
        )
    return table


def _short(value: float | None) -> str:
    return "" if value is None or isnan(value) else f"{value:.0f}" if value >= 100 else f"{value:.3g}"
