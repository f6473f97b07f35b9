"""State of the runs of a plan, or of the runs below a folder, from their files, locks and SLURM's queue.

Files that a killed process could leave behind are not trusted: a run is running while a process holds its lock (or SLURM
reports its job as running, for file systems whose locks do not work across nodes), and done if its result says so.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gip_exp.errors import UserError
from gip_exp.runs import folder as run_folder
from gip_exp.runs import lock, slurm
from gip_exp.runs.folder import CONFIG, RESULT, RUN_LOCK
from gip_exp.runs.folder import SELECTED as SELECTED_FILE
from gip_exp.runs.records import LockRecord
from gip_exp.sweep import plan_folder
from gip_exp.sweep.plan_folder import PlannedRun

DONE, RUNNING, QUEUED, SELECTED = "done", "running", "queued", "selected"
FAILED, KILLED, STOPPED, MISSING = "failed", "killed", "stopped", "missing"
WAITING = "waiting"  # for batches of a provider, without a process: run it again to go on
WAITING_FOR = "waiting for batch, "  # in the reason of such a run
ORDER = (DONE, RUNNING, QUEUED, WAITING, SELECTED, STOPPED, KILLED, FAILED, MISSING)


@dataclass(frozen=True)
class State:
    """State of one run.

    Attributes:
        name: its number in the plan; empty without a plan.
        label: display name.
        state: what it is doing or how it ended.
        reason: why it failed, was killed or stopped, or waits in SLURM's queue.
        stage: current stage.
        since: start of the process, seconds since the epoch.
        where: SLURM job, or host and process.
        folder: its run folder.
    """

    name: str
    label: str
    state: str
    reason: str = ""
    stage: str = ""
    since: float | None = None
    where: str = ""
    folder: str = ""


def of_plan(plan: Path) -> list[State]:
    """Return the state of every planned run; UserError if the plan cannot be read."""
    runs = plan_folder.read(plan)
    records = [lock.read(plan / plan_folder.STATES, run.name) for run in runs]
    submitted = plan_folder.jobs(plan)
    known = slurm.jobs([*submitted, *(str(one["slurm_job"]) for one in records if "slurm_job" in one)])
    return [_planned(plan, run, submitted, known) for run in runs]


def _planned(plan: Path, run: PlannedRun, submitted: list[str], known: Mapping[str, slurm.Job]) -> State:
    folder = Path(run.folder)
    base = State(run.name, run.label, MISSING, folder=run.folder)
    plan_locked, record = lock.look(plan / plan_folder.STATES, run.name)
    run_locked, run_record = lock.look(folder, RUN_LOCK)
    if _result(folder).get("status") in (DONE, run.ends):
        return replace(base, state=DONE)
    if plan_locked or run_locked:  # the other record may be left from an earlier process
        return _running(base, {**(record if plan_locked else {}), **(run_record if run_locked else {})})
    if record and record.get("pid") == run_record.get("pid"):
        record = {
            "stage": run_record.get("stage", ""),
            **record,
        }  # the same process, which recorded its stage there
    names = [f"{job}_{run.number}" for job in submitted]
    waiting = _in_queue(base, [*names, str(record.get("slurm_job"))], known)
    return (
        waiting
        or _failed_to_start(base, names, record, known)
        or _ended(base, record or run_record, folder, known)
    )


def _failed_to_start(
    base: State, names: Sequence[str], record: LockRecord, known: Mapping[str, slurm.Job]
) -> State | None:
    """Return the state if the newest job failed before it could write a record: cancelled, or Python did not start."""
    newest = next((name for name in reversed(names) if name in known), None)
    if newest is None or record or known[newest].state in slurm.GOOD:
        return None
    why = slurm.why_ended(known[newest]) or f"SLURM says {known[newest].state}"
    state = STOPPED if known[newest].state == "CANCELLED" else KILLED
    return replace(
        base, state=state, reason=f"{why}, before it began: see {plan_folder.LOGS}/", where=f"job {newest}"
    )


def _in_queue(base: State, names: Iterable[str], known: Mapping[str, slurm.Job]) -> State | None:
    """Return running if SLURM says so (a job that starts, a node without shared locks), queued, or None."""
    mine = {name: known[name] for name in names if name in known}
    for name, job in mine.items():
        if job.running:
            return replace(base, state=RUNNING, where=f"job {name}")
    waiting = {name: job.reason for name, job in mine.items() if job.waiting}
    if not waiting:
        return None
    why = ", ".join(dict.fromkeys(reason for reason in waiting.values() if reason not in ("", "None")))
    return replace(base, state=QUEUED, where=f"job {', '.join(waiting)}", reason=why)


def of_runs(root: Path) -> list[State]:
    """Return the state of every run below a folder; UserError if there is none."""
    if not root.is_dir():
        raise UserError(f"DIR={root} is not a folder: give a plan's folder, or one above runs, e.g. outputs")
    folders = list(run_folder.below(root))
    if not folders:
        raise UserError(
            f"there are no runs below {root} and it has no {plan_folder.PLAN}: give a folder that gip_exp.plan wrote "
            "(--write), or one above runs, e.g. outputs"
        )
    records = [lock.read(folder, RUN_LOCK) for folder in folders]
    known = slurm.jobs([str(one["slurm_job"]) for one in records if "slurm_job" in one])
    return [_unplanned(root, folder, known) for folder in folders]


def _unplanned(root: Path, folder: Path, known: Mapping[str, slurm.Job]) -> State:
    name = str(folder.relative_to(root)) if folder != root else folder.name
    base = State("", name, MISSING, folder=str(folder))
    run_locked, record = lock.look(folder, RUN_LOCK)
    if _result(folder).get("status") == DONE:
        return replace(base, state=DONE)
    if run_locked:
        return _running(base, record)
    return _in_queue(base, [str(record.get("slurm_job"))], known) or _ended(base, record, folder, known)


def _ended(base: State, record: LockRecord, folder: Path, known: Mapping[str, slurm.Job]) -> State:
    """Return how the last process of a run ended that is neither running nor queued."""
    job = known.get(str(record.get("slurm_job")))
    if record and "ended" not in record:
        return replace(base, state=KILLED, reason=_killed(record, job), where=_where(record))
    if "error" in record:
        reason = str(record["error"]).removeprefix("UserError: ")
        state = WAITING if WAITING_FOR in reason else FAILED
        return replace(base, state=state, reason=reason, where=_where(record))
    if "stopped" in record:
        return replace(base, state=STOPPED, reason=_stopped(record, job), where=_where(record))
    return _by_result(base, _result(folder), folder)


def _by_result(base: State, result: Mapping[str, Any], folder: Path) -> State:
    status = str(result.get("status", ""))
    if status == FAILED:
        return replace(base, state=FAILED, reason=str(result.get("error", "no reason recorded")))
    if status.startswith("stopped:"):
        stage = status.partition(":")[2]
        if stage == "select":
            return replace(base, state=SELECTED)
        return replace(base, state=STOPPED, reason=f"on request after {stage}")
    if "unreadable" in result:
        return replace(base, state=FAILED, reason=f"{RESULT} is damaged or incomplete: run it again")
    if (folder / CONFIG).is_file():
        return replace(base, state=KILLED, reason="its process left neither a result nor a record")
    return base


def _running(base: State, record: LockRecord) -> State:
    return replace(
        base,
        state=RUNNING,
        stage=str(record.get("stage", "")),
        since=record.get("started"),
        where=_where(record),
    )


def _killed(record: LockRecord, job: slurm.Job | None) -> str:
    why = slurm.why_ended(job) if job else ""
    during = f" during {record['stage']}" if record.get("stage") else ""
    return f"{why or 'its process ended without a record (killed, out of memory, node lost)'}{during}"


def _stopped(record: LockRecord, job: slurm.Job | None) -> str:
    if record["stopped"] == "KeyboardInterrupt":
        return "by Ctrl-C"
    why = (slurm.why_ended(job) if job else "") or str(record.get("slurm_reason") or "")
    return f"by SIGTERM ({why})" if why else "by SIGTERM"


def _where(record: LockRecord) -> str:
    if "slurm_job" in record:
        return f"job {record['slurm_job']} on {record.get('host')}"
    return f"{record['host']}, process {record.get('pid')}" if "host" in record else ""


def _result(folder: Path) -> dict[str, Any]:
    path = folder / RESULT
    if not path.is_file():
        return {}
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"unreadable": True}
    return result if isinstance(result, dict) else {"unreadable": True}


def offline_wandb(folders: Iterable[str]) -> list[Path]:
    """Return offline W&B runs of these folders that are not uploaded yet (`wandb sync` leaves a `.synced` file)."""
    found = []
    for folder in folders:
        for place in sorted((Path(folder) / "wandb").glob("offline-run-*")):
            if not any(place.glob("*.synced")):
                found.append(place)
    return found


def to_submit(plan: Path) -> dict[str, list[int]]:
    """Return the runs to submit, by what they need next: cpu or gpu (their selection), or train."""
    found: dict[str, list[int]] = {"cpu": [], "gpu": [], "train": []}
    by_name = {state.name: state.state for state in of_plan(plan)}
    for run in plan_folder.read(plan):
        if by_name[run.name] in (DONE, RUNNING, QUEUED):
            continue
        selected = (Path(run.folder) / SELECTED_FILE).is_file()
        found["train" if selected else run.selects_on].append(run.number)
    return found
