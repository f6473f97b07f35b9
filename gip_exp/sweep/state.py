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
from gip_exp.runs.records import LockRecord
from gip_exp.sweep import job_arrays, job_ends, plan_folder
from gip_exp.sweep.job_arrays import JobArray, Phase
from gip_exp.sweep.plan_folder import PlannedRun

DONE, RUNNING, QUEUED, SELECTED = "done", "running", "queued", "selected"
FAILED, KILLED, STOPPED, MISSING = "failed", "killed", "stopped", "missing"
WAITING = "waiting"  # for batches of a provider, without a process: run it again to go on
WAITING_FOR = "waiting for batch, "  # in the reason of such a run
UNKNOWN = "unknown"  # SLURM does not say whether its job is queued
ORDER = (DONE, RUNNING, QUEUED, WAITING, UNKNOWN, SELECTED, STOPPED, KILLED, FAILED, MISSING)


@dataclass(frozen=True)
class State:
    """State of one run.

    Attributes:
        name: its number in the plan; empty without a plan.
        label: display name.
        state: what it is doing or how it ended.
        reason: why it failed, was killed or stopped, or waits in SLURM's queue; of a running one, its progress.
        stage: current stage.
        since: start of the running process, or end of the last one, seconds since the epoch.
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


@dataclass(frozen=True)
class Survey:
    """The runs of a plan, their states, their job arrays, and the jobs that SLURM knows.

    Attributes:
        runs: the planned runs.
        states: state of each.
        arrays: arrays submitted for the plan, oldest first.
        known: SLURM's jobs by name.
        silent: why SLURM did not say which jobs it knows; empty if it did.
    """

    runs: Sequence[PlannedRun]
    states: Sequence[State]
    arrays: Sequence[JobArray]
    known: Mapping[str, slurm.Job]
    silent: str = ""

    def queued(self, run: PlannedRun) -> dict[Phase, JobArray]:
        """Return the phases of a run that are queued or running in arrays of the plan, with their array."""
        found: dict[Phase, JobArray] = {}
        for array in self.arrays:
            job = self.known.get(array.task(run.number))
            if job and (job.waiting or job.running):
                found[array.phase] = array
        return found


def of_plan(plan: Path) -> list[State]:
    """Return the state of every planned run; UserError if the plan cannot be read."""
    return list(survey(plan).states)


def survey(plan: Path) -> Survey:
    """Return the state of every planned run, with the jobs behind it; UserError if the plan cannot be read."""
    runs, arrays = plan_folder.read(plan), job_arrays.read(plan)
    records = [lock.read(plan / plan_folder.STATES, run.name) for run in runs]
    ids = [*(array.job for array in arrays if array.job), *_recorded_jobs(records)]
    known, silent = _known(ids)
    states = [_planned(plan, run, arrays, known, silent) for run in runs]
    return Survey(runs, states, arrays, known, silent)


def _recorded_jobs(records: Iterable[LockRecord]) -> list[str]:
    return [str(record["slurm_job"]) for record in records if "slurm_job" in record]


def _known(ids: Sequence[str]) -> tuple[dict[str, slurm.Job], str]:
    """Return (the jobs SLURM knows, why it does not say which it knows)."""
    try:
        return slurm.jobs(ids), ""
    except slurm.NoAnswerError as error:
        return {}, str(error)


def _planned(
    plan: Path, run: PlannedRun, arrays: Sequence[JobArray], known: Mapping[str, slurm.Job], silent: str
) -> State:
    folder = Path(run.folder)
    base = State(run.name, run.label, MISSING, folder=run.folder)
    plan_locked, record = lock.look(plan / plan_folder.STATES, run.name)
    run_locked, run_record = lock.look(folder, RUN_LOCK)
    if _result(folder).get("status") in (DONE, run.ends):
        return replace(base, state=DONE)
    if plan_locked or run_locked:  # the other record may be left from an earlier process
        return _running(base, {**(record if plan_locked else {}), **(run_record if run_locked else {})})
    if record and record.get("pid") == run_record.get("pid"):
        # The same process, which recorded its stage there.
        record = {"stage": run_record.get("stage", ""), **record}
    mine = [array for array in arrays if array.task(run.number)]
    names = [array.task(run.number) for array in mine]
    if silent and _may_be_queued(mine, run, record):
        return replace(base, state=UNKNOWN, reason=f"SLURM does not answer: {silent}")
    if queued := _in_queue(base, [*names, str(record.get("slurm_job"))], known):
        return queued
    if end := job_ends.before_a_record(plan, run, mine, record, known):
        state = STOPPED if end.cancelled else KILLED
        return replace(base, state=state, reason=end.reason, where=end.where)
    return _ended(base, record or run_record, folder, known)


def _may_be_queued(arrays: Sequence[JobArray], run: PlannedRun, record: LockRecord) -> bool:
    """Return whether only SLURM can tell the state: a job was submitted, and the newest has recorded no failure."""
    newest = {array.phase: array.task(run.number) for array in arrays}.values()
    job = record.get("slurm_job")
    return bool(newest or job) and not ("error" in record and (job in newest or not newest))


def _in_queue(base: State, names: Iterable[str], known: Mapping[str, slurm.Job]) -> State | None:
    """Return running if SLURM says so (a job that starts, a node without shared locks), queued, or None."""
    mine = {name: known[name] for name in names if name in known}
    for name, job in mine.items():
        if job.running:
            return replace(base, state=RUNNING, where=f"job {name}")
    waiting = {name: slurm.why_waiting(job) for name, job in mine.items() if job.waiting}
    if not waiting:
        return None
    why = ", ".join(dict.fromkeys(reason for reason in waiting.values() if reason))
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
    known, silent = _known(_recorded_jobs(records))
    return [_unplanned(root, folder, known, silent) for folder in folders]


def _unplanned(root: Path, folder: Path, known: Mapping[str, slurm.Job], silent: str) -> State:
    name = str(folder.relative_to(root)) if folder != root else folder.name
    base = State("", name, MISSING, folder=str(folder))
    run_locked, record = lock.look(folder, RUN_LOCK)
    if _result(folder).get("status") == DONE:
        return replace(base, state=DONE)
    if run_locked:
        return _running(base, record)
    if silent and "slurm_job" in record and "error" not in record:
        return replace(base, state=UNKNOWN, reason=f"SLURM does not answer: {silent}")
    return _in_queue(base, [str(record.get("slurm_job"))], known) or _ended(base, record, folder, known)


def _ended(base: State, record: LockRecord, folder: Path, known: Mapping[str, slurm.Job]) -> State:
    """Return how the last process of a run ended that is neither running nor queued."""
    job = known.get(str(record.get("slurm_job")))
    if record and "ended" not in record:
        return replace(base, state=KILLED, reason=_killed(record, job), where=_where(record))
    if "error" in record:
        reason = str(record["error"]).removeprefix("UserError: ")
        state = WAITING if WAITING_FOR in reason else FAILED
        return replace(base, state=state, reason=reason, where=_where(record), since=record.get("ended"))
    if "stopped" in record:
        return replace(
            base, state=STOPPED, reason=_stopped(record, job), where=_where(record), since=record.get("ended")
        )
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
        reason=str(record.get("progress", "")),
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
