"""The execution of a run, stage by stage."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from gip_exp import device, result
from gip_exp.artifacts import sizes
from gip_exp.config import Config
from gip_exp.config.judge import LLMJudge
from gip_exp.console import Console
from gip_exp.errors import Answered, UserError, as_user_errors
from gip_exp.evaluation import registry
from gip_exp.graph import run_key, stages
from gip_exp.handover import write as handover
from gip_exp.preflight import preflight
from gip_exp.redaction import redact, secrets_in_environment
from gip_exp.runs import tracking
from gip_exp.runs.folder import CONFIG, RESULT, RUN_LOCK
from gip_exp.runs.lock import RunLock, run_lock
from gip_exp.runs.records import RunResult
from gip_exp.stage import Job, Stage
from gip_exp.stages import data, evaluate, train
from gip_exp.storage.disk_errors import explained, make_folder, writable
from gip_exp.storage.files import copy_file, remove_leftovers, write_json, write_text
from gip_exp.storage.sharing import closed_to_group
from gip_exp.storage.store import Draft, Entry, Store, key_of


@dataclass(frozen=True)
class Outcome:
    """A finished run: its folder, the content of its `result.json`, its stage outputs."""

    folder: Path
    result: RunResult
    entries: Mapping[str, Entry]


def run(config: Config, console: Console) -> Outcome:
    """Run every stage or reuse its output, and write the run folder.

    Raises:
        UserError: lists everything that is missing, before any work.
    """
    plan = stages(config)
    if not plan:
        raise UserError(
            f"until={config.until}: this experiment has no such stage (its evaluation or train is empty)"
        )
    store = Store(config.paths.root, on_wait=console.warn)
    cached = preflight(config, plan, store, also=tracking.problems(config.tracking))
    if closed := closed_to_group(config.paths.root):
        console.warn(closed)
    # Before the run folder is made: unreadable rows and a budget beyond the pool are errors.
    entries = {"data": _data(config, store, console)}
    for stage in data.stages(config)[1:]:
        entries[stage.name] = _produce(stage, config=config, entries=entries, store=store, console=console)
    n_pool, _ = sizes(config, entries)
    if any(stage.group == "evaluate" for stage in plan.values()):
        registry.check_test_rows(config, entries)
    key = run_key(config)
    folder = result.run_folder(config, key)
    if len(cached) == len(plan) and folder.is_dir() and not writable(folder):
        console.warn(f"paths.root={config.paths.root} is read-only: existing outputs are shown")
        return Outcome(folder, result.summarise(config, key, cached, _status(config)), cached)
    make_folder(folder, config.paths.root)
    with explained(config.paths.root, f"writing {folder}"), run_lock(folder, RUN_LOCK, console.warn) as lock:
        remove_leftovers(folder)
        write_text(folder / CONFIG, as_yaml(config))
        follow = console.followed(lambda progress: lock.update(progress=progress))
        with console.logging_to(folder / "log.txt"), follow:
            console.say(f"{config.experiment}: {folder.name}", style="bold")
            for entry in entries.values():
                for note in entry.notes:
                    console.record(f"note: {note}")
            if note := _count_note(config, n_pool):
                console.warn(note)
            if isinstance(config.judge, LLMJudge) and "score" not in plan:
                unused = f"selector={config.selector.name} reads no scores, so the judge {config.judge.name} is not asked"
                console.say(f"  {unused}", style="dim")
            return _perform(
                config,
                plan,
                entries=entries,
                store=store,
                key=key,
                folder=folder,
                console=console,
                lock=lock,
                repeated=len(cached) == len(plan),
            )


def _count_note(config: Config, n_pool: int) -> str:
    """Return a note where a small count may have been meant as a percentage, else ''."""
    budget, counted = config.budget, isinstance(config.budget, int) and config.budget_unit == "rows"
    if not counted or budget > 100 or config.selector.name == "untuned":
        return ""
    return (
        f"budget={budget} is a count: {budget} of {n_pool:,} rows ({budget / n_pool:.2%}); for {budget} % write "
        f"budget={budget / 100:.2g}"
    )


def _perform(
    config: Config,
    plan: Mapping[str, Stage],
    *,
    entries: dict[str, Entry],
    store: Store,
    key: str,
    folder: Path,
    console: Console,
    lock: RunLock,
    repeated: bool,
) -> Outcome:
    """Run the stages in order; record the result, or the failure, in the run folder."""
    tracker = tracking.start(config, folder, console, repeated=repeated)
    try:
        for name, stage in plan.items():
            if name not in entries:
                lock.update(stage=name, progress="")
                entries[name] = _produce(
                    stage, config=config, entries=entries, store=store, console=console, tracker=tracker
                )
        outcome = _finish(config, key, folder, entries, console)
    except BaseException as error:
        if isinstance(error, Exception) and not isinstance(
            error, Answered
        ):  # SIGTERM and Ctrl-C are not failures: the run can be continued
            _record_failure(config, key, folder, entries, error)
        tracker.fail()
        raise
    tracker.finish(outcome.result, result.selected_file(entries))
    return outcome


def outputs(config: Config, wanted: Sequence[str], console: Console) -> dict[str, Entry]:
    """Make or reuse the outputs of the stages `wanted` and of their inputs, without a run folder."""
    plan: dict[str, Stage] = {}
    for name in wanted:
        plan |= stages(config.model_copy(update={"until": name}))
    store = Store(config.paths.root, on_wait=console.warn)
    preflight(config, plan, store)
    entries = {"data": _data(config, store, console)}
    for name, stage in plan.items():
        if name not in entries:
            entries[name] = _produce(stage, config=config, entries=entries, store=store, console=console)
    return entries


def _data(config: Config, store: Store, console: Console) -> Entry:
    """Make or reuse the output of `data`. Rows are read before the store is touched, so that errors leave no files."""
    stage, write = data.STAGE, None
    identity = stage.identity(config, {})
    if store.find(stage.group, key_of(stage.group, identity)) is None:
        with _announced(stage, console, store.changed_code(stage.group, identity)):
            write = data.read(config, console)
    return _produce(stage, config=config, entries={}, store=store, console=console, build=write)


def _produce(
    stage: Stage,
    *,
    config: Config,
    entries: dict[str, Entry],
    store: Store,
    console: Console,
    tracker: tracking.Tracker | None = None,
    build: Callable[[Draft], None] | None = None,
) -> Entry:
    """Make or reuse the output of a stage; `build` replaces `stage.build` if part of the work is done."""
    tracker = tracker or tracking.NoTracker()
    inputs = {name: entries[name] for name in stage.inputs(config)}

    identity = stage.identity(config, entries)
    changed: tuple[str, ...] = ()

    def make(draft: Draft) -> None:
        nonlocal changed
        changed = store.changed_code(stage.group, identity)
        if build is not None:
            build(draft)
            return
        reserved = device.reserved_for(stage.name) if stage.needs_device(config) else nullcontext()
        with _announced(stage, console, changed), reserved:
            job = Job(config, inputs, draft, console, tracker.log)
            stage.build(job)
            stage.finish(job)

    entry = store.produce(stage.group, identity, make, resumable=stage.resumable)
    entry = replace(entry, changed_code=changed)
    if entry.cached:
        console.say(f"  {stage.name}: reused ({entry.key})", style="dim")
        for note in entry.notes:
            console.warn(note)
        for figures in train.history(entry):
            tracker.log(figures)
    else:
        console.say(f"  {stage.name}: {entry.seconds:.1f} s")
    tracker.log({f"seconds/{stage.name}": entry.seconds})
    return entry


@contextmanager
def _announced(stage: Stage, console: Console, changed: Sequence[str]) -> Iterator[None]:
    """Show that a stage runs; its ValueErrors become UserErrors."""
    console.say(f"  {stage.name} ..." + (f" again: {', '.join(changed)} changed" if changed else ""))
    with console.spinner(stage.name), as_user_errors():
        yield


def _finish(
    config: Config, key: str, folder: Path, entries: Mapping[str, Entry], console: Console
) -> Outcome:
    for chosen in result.selected_files(entries):
        write_text(folder / chosen.name, chosen.read_text(encoding="utf-8"))
    for file in result.description_files(entries):
        copy_file(file, folder / file.name)
    evaluate.copy_predictions(entries, folder)
    if "score" in entries and isinstance(config.judge, LLMJudge):
        from gip_exp.judgements import page  # and `openai` with it

        page.write_for_run(config, folder, entries)
    summary = result.summarise(config, key, entries, _status(config))
    if not (config.until and result.is_done(folder)):
        # Repeating a finished run with `until` must not replace its result: the run key ignores `until`.
        write_json(folder / RESULT, summary)
    if "select" in entries:
        for note in handover.export(config, folder, summary):
            console.warn(note)
    return Outcome(folder, summary, entries)


def _status(config: Config) -> str:
    """Return the status of a run that reached its last stage."""
    return f"stopped:{config.until}" if config.until else "done"


def _record_failure(
    config: Config, key: str, folder: Path, entries: Mapping[str, Entry], error: Exception
) -> None:
    """Write a result with the status `failed` and the error."""
    try:
        if result.is_done(folder):
            return  # the result of an earlier, successful run with this key remains valid
        summary = result.summarise(config, key, entries, "failed")
        message = redact(f"{type(error).__name__}: {error}", secrets_in_environment())
        summary["error"] = message[:2000]
        write_json(folder / RESULT, summary)
    except (OSError, ValueError, KeyError, UserError):
        pass  # a full disk or a removed output: the original error is the one to show


def as_yaml(config: Config) -> str:
    """Return the resolved config as YAML; `parse` reads it back as the same config."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(config.model_dump(mode="json")))
