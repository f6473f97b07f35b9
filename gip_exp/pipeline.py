"""The stage graph, in reading order, and one run through it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from gip_exp import device, result
from gip_exp.artifacts import sizes
from gip_exp.config import Config
from gip_exp.config.train import NoTrain
from gip_exp.console import Console
from gip_exp.errors import UserError, as_user_errors, listed
from gip_exp.evaluation import registry
from gip_exp.models import loading
from gip_exp.redaction import redact, secrets_in_environment
from gip_exp.runs import tracking
from gip_exp.runs.folder import CONFIG, RESULT, RUN_LOCK
from gip_exp.runs.lock import RunLock, run_lock
from gip_exp.runs.records import RunResult
from gip_exp.stage import Job, Stage
from gip_exp.stages import (
    base,
    contamination,
    data,
    embed,
    evaluate,
    gradients,
    rank,
    score,
    select,
    train,
    warmup,
)
from gip_exp.storage.disk_errors import explained, make_folder, writable
from gip_exp.storage.files import remove_leftovers, write_json, write_text
from gip_exp.storage.store import Draft, Entry, Store, key_of


def stages(config: Config) -> dict[str, Stage]:
    """The stages this run uses, by name, in the order in which they run."""
    known = {
        stage.name: stage
        for stage in (
            *data.stages(config),
            *contamination.stages(config),
            base.STAGE,
            *score.from_rows(config),
            embed.STAGE,
            *score.from_tables(config),
            warmup.STAGE,
            gradients.STAGE,
            rank.STAGE,
            select.STAGE,
            train.STAGE,
            *evaluate.stages(config),
        )
    }
    ends = [stage for stage in known.values() if stage.group == (config.until or "evaluate")]
    ends += data.stages(config)[1:]  # the metadata, for the report
    if config.until != "data":
        ends += contamination.stages(config)
    if not config.until:
        # A finished run says what it selected, also with train=none, and leaves an adapter, also without evaluations.
        ends += [select.STAGE] if isinstance(config.train, NoTrain) else [select.STAGE, train.STAGE]
    wanted: set[str] = set()
    for stage in ends:
        _require(stage, known, config, wanted)
    return {name: stage for name, stage in known.items() if name in wanted}


def _require(stage: Stage, known: Mapping[str, Stage], config: Config, wanted: set[str]) -> None:
    if stage.name in wanted:
        return
    wanted.add(stage.name)
    for name in stage.inputs(config):
        _require(known[name], known, config, wanted)


@dataclass(frozen=True)
class Outcome:
    """A finished run: its folder and the content of its `result.json`."""

    folder: Path
    result: RunResult
    entries: Mapping[str, Entry]


def run(config: Config, console: Console) -> Outcome:
    """Run or reuse every stage, write the run folder. Raises UserError with all that is missing before any work."""
    plan = stages(config)
    if not plan:
        raise UserError(
            f"until={config.until}: this experiment has no such stage (its evaluation or train is empty)"
        )
    store = Store(config.paths.root, on_wait=console.warn)
    kept = preflight(config, plan, store, also=tracking.missing(config.tracking))
    # Rows that cannot be read and a budget beyond the pool are found before a run folder is made for them.
    entries = {"data": _data(config, store, console)}
    for stage in data.stages(config)[1:]:
        entries[stage.name] = _produce(stage, config=config, entries=entries, store=store, console=console)
    sizes(config, entries)
    if any(stage.group == "evaluate" for stage in plan.values()):
        registry.check_test_rows(config, entries)
    key = run_key(config)
    folder = result.run_folder(config, key)
    if len(kept) == len(plan) and folder.is_dir() and not writable(folder):
        console.warn(f"paths.root={config.paths.root} cannot be written: the outputs are shown as they stand")
        return Outcome(folder, result.summarise(config, key, kept, _status(config)), kept)
    make_folder(folder, config.paths.root)
    with explained(config.paths.root, f"writing {folder}"), run_lock(folder, RUN_LOCK, console.warn) as mine:
        remove_leftovers(folder)
        write_text(folder / CONFIG, as_yaml(config))
        with console.logging_to(folder / "log.txt"):
            console.say(f"{config.experiment}: {folder.name}", style="bold")
            return _perform(
                config,
                plan,
                entries=entries,
                store=store,
                key=key,
                folder=folder,
                console=console,
                mine=mine,
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
    mine: RunLock,
) -> Outcome:
    """The stages one after the other, and what becomes of the run folder however that ends."""
    tracker = tracking.start(config, folder, console)
    try:
        for name, stage in plan.items():
            if name not in entries:
                mine.tell(stage=name)
                entries[name] = _produce(
                    stage, config=config, entries=entries, store=store, console=console, tracker=tracker
                )
        outcome = _finish(config, key, folder, entries)
    except BaseException as error:
        if isinstance(error, Exception):  # a stop from outside is no result: the run goes on another time
            _record_failure(config, key, folder, entries, error)
        tracker.fail()
        raise
    tracker.finish(outcome.result, result.selected_file(entries))
    return outcome


def outputs(config: Config, wanted: Sequence[str], console: Console) -> dict[str, Entry]:
    """Make or reuse the outputs of the stages `wanted` and of what they need, without a run or its folder."""
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


def preflight(
    config: Config, plan: Mapping[str, Stage], store: Store, also: Sequence[str] = ()
) -> dict[str, Entry]:
    """Check what the stages need; a stage whose output is in the store needs nothing any more. Those outputs.

    `also`: what is missing beside that. Raises UserError with all of it.
    """
    _check_root(config.paths.root)
    entries: dict[str, Entry] = {}
    problems = list(also)
    for stage in plan.values():
        try:
            if all(name in entries for name in stage.inputs(config)):
                found = store.find(stage.group, key_of(stage.group, stage.identity(config, entries)))
                if found is not None:
                    entries[stage.name] = found
                    continue
            problems += stage.missing(config)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise listed("cannot start; this is missing or wrong:", list(dict.fromkeys(problems)))
    return entries


def _check_root(root: Path) -> None:
    """Refuse a `paths.root` that can be no folder before anything is read; one that is read-only may hold it all."""
    place = root.absolute()
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
        why = "" if place.is_dir() else f"{place} is a file"
    except OSError as error:  # a name that the file system does not take
        why = error.strerror or str(error)
    if why:
        raise UserError(
            f"paths.root={_short(root)} cannot be written ({why}): choose a folder you can write, e.g. paths.root=/tmp/gip"
        )


def _short(root: Path) -> str:
    text = str(root)
    return text if len(text) < 200 else f"{text[:80]}...{text[-20:]}"


def _data(config: Config, store: Store, console: Console) -> Entry:
    """The rows, read before the store is touched: a refusal leaves nothing behind."""
    stage, write = data.STAGE, None
    identity = stage.identity(config, {})
    if store.find(stage.group, key_of(stage.group, identity)) is None:
        with _at_work(stage, console, store.changed_code(stage.group, identity)):
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
    """A stage's output, made or reused. `build` stands for the stage's own where half the work is done already."""
    tracker = tracker or tracking.NoTracker()
    inputs = {name: entries[name] for name in stage.inputs(config)}

    identity = stage.identity(config, entries)
    changed: tuple[str, ...] = ()

    def whole(draft: Draft) -> None:
        nonlocal changed
        changed = store.changed_code(stage.group, identity)
        if build is not None:
            build(draft)
            return
        alone = device.occupied_by(stage.name) if stage.needs_device(config) else nullcontext()
        with _at_work(stage, console, changed), alone:
            stage.build(Job(config, inputs, draft, console, tracker.log))

    entry = store.produce(stage.group, identity, whole, resumable=stage.resumable)
    entry = replace(entry, changed_code=changed)
    if entry.cached:
        console.say(f"  {stage.name}: reused ({entry.key})", style="dim")
        for note in entry.notes:
            console.warn(note)
    else:
        console.say(f"  {stage.name}: {entry.seconds:.1f} s")
    tracker.log({f"seconds/{stage.name}": entry.seconds})
    return entry


@contextmanager
def _at_work(stage: Stage, console: Console, changed: Sequence[str]) -> Iterator[None]:
    console.say(f"  {stage.name} ..." + (f" again: {', '.join(changed)} changed" if changed else ""))
    with console.working(stage.name), as_user_errors():
        yield


def _finish(config: Config, key: str, folder: Path, entries: Mapping[str, Entry]) -> Outcome:
    for chosen in result.selected_files(entries):
        write_text(folder / chosen.name, chosen.read_text(encoding="utf-8"))
    evaluate.copy_predictions(entries, folder)
    summary = result.summarise(config, key, entries, _status(config))
    if not (config.until and result.is_done(folder)):
        # A run that is done stays so when it is asked for again up to a stage: the folder's key covers everything.
        write_json(folder / RESULT, summary)
    return Outcome(folder, summary, entries)


def _status(config: Config) -> str:
    """Of a run that went as far as it was asked to."""
    return f"stopped:{config.until}" if config.until else "done"


def _record_failure(
    config: Config, key: str, folder: Path, entries: Mapping[str, Entry], error: Exception
) -> None:
    """Leave a result that says the run failed and why; the error itself goes on to the caller."""
    try:
        if result.is_done(folder):
            return  # the same run was done before: what it found still holds
        summary = result.summarise(config, key, entries, "failed")
        said = redact(f"{type(error).__name__}: {error}", secrets_in_environment())
        summary["error"] = said[:2000]
        write_json(folder / RESULT, summary)
    except (OSError, ValueError, KeyError, UserError):
        pass  # a full disk, or an output that went away: the first error is the one to show


def run_key(config: Config) -> str:
    """Of the whole run, wherever `until` stops it: a run that goes on later goes on in the same folder."""
    whole = stages(config.model_copy(update={"until": None}))
    identities = {
        "model": loading.identity(config.model),
        "selector": rank.source(config),
        # Files that the config names (rows, weights, questions) count by what is in them, as in the stages' own keys.
        "settings": {
            name: stage.settings(config, {}) for name, stage in whole.items() if name not in _FOLLOWING
        },
        "code": {stage.name: stage.code_files(config) for stage in whole.values()},
    }
    return result.config_key(config, identities)


# Their settings hold what earlier stages found, which is decided by all the others.
_FOLLOWING = ("rank", "select", "train")


def as_yaml(config: Config) -> str:
    """The resolved config; `parse` reads it back as the same config."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(config.model_dump(mode="json")))
