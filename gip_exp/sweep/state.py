"""How far the runs of a plan, or the runs below a folder, are: read from their files, locks and SLURM's queue.

Nothing is believed that a killed process could leave behind: a run is running as long as a process holds its lock
(or SLURM says that its job runs, where locks do not reach across nodes), done when its result says so.
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
ORDER = (DONE, RUNNING, QUEUED, SELECTED, STOPPED, KILLED, FAILED, MISSING)


@dataclass(frozen=True)
class State:
    """One run: what it is doing or how it ended. `reason`: why it failed, was killed or stopped, or SLURM lets it wait."""

    name: str
    label: str
    state: str
    reason: str = ""
    stage: str = ""
    since: float | None = None  # seconds since the epoch
    where: str = ""  # SLURM job, or host and process
    folder: str = ""


def of_plan(plan: Path) -> list[State]:
    """The state of every planned run. Raises UserError when the plan cannot be read."""
    runs = plan_folder.read(plan)
    told = [lock.read(plan / plan_folder.STATES, run.name) for run in runs]
    submitted = plan_folder.jobs(plan)
    known = slurm.jobs([*submitted, *(str(facts["slurm_job"]) for facts in told if "slurm_job" in facts)])
    return [_planned(plan, run, submitted, known) for run in runs]


def _planned(plan: Path, run: PlannedRun, submitted: list[str], known: Mapping[str, slurm.Job]) -> State:
    folder = Path(run.folder)
    base = State(run.name, run.label, MISSING, folder=run.folder)
    at_plan, told = lock.look(plan / plan_folder.STATES, run.name)
    at_work, at_run = lock.look(folder, RUN_LOCK)
    if _result(folder).get("status") in (DONE, run.ends):
        return replace(base, state=DONE)
    if at_plan or at_work:  # what an earlier process left in the other file is not this one's word
        return _running(base, {**(told if at_plan else {}), **(at_run if at_work else {})})
    if told and told.get("pid") == at_run.get("pid"):
        told = {"stage": at_run.get("stage", ""), **told}  # the same process: only it knows what it was doing
    names = [f"{job}_{run.number}" for job in submitted]
    waiting = _in_queue(base, [*names, str(told.get("slurm_job"))], known)
    return waiting or _without_word(base, names, told, known) or _at_rest(base, told or at_run, folder, known)


def _without_word(
    base: State, names: Sequence[str], told: LockRecord, known: Mapping[str, slurm.Job]
) -> State | None:
    """The newest job ended badly before its process could say so: it was cancelled, or Python did not even start."""
    newest = next((name for name in reversed(names) if name in known), None)
    if newest is None or told or known[newest].state in slurm.GOOD:
        return None
    said = slurm.in_words(known[newest]) or f"SLURM says {known[newest].state}"
    state = STOPPED if known[newest].state == "CANCELLED" else KILLED
    return replace(
        base, state=state, reason=f"{said}, before it began: see {plan_folder.LOGS}/", where=f"job {newest}"
    )


def _in_queue(base: State, names: Iterable[str], known: Mapping[str, slurm.Job]) -> State | None:
    """Running where SLURM says so (a job that only starts, a node that locks do not reach), queued, or neither."""
    mine = {name: known[name] for name in names if name in known}
    for name, job in mine.items():
        if job.at_work:
            return replace(base, state=RUNNING, where=f"job {name}")
    waiting = {name: job.reason for name, job in mine.items() if job.waiting}
    if not waiting:
        return None
    why = ", ".join(dict.fromkeys(reason for reason in waiting.values() if reason not in ("", "None")))
    return replace(base, state=QUEUED, where=f"job {', '.join(waiting)}", reason=why)


def of_runs(root: Path) -> list[State]:
    """The state of every run below a folder. Raises UserError when there is none."""
    if not root.is_dir():
        raise UserError(f"DIR={root} is not a folder: give a plan's folder, or one above runs, e.g. outputs")
    folders = list(run_folder.below(root))
    if not folders:
        raise UserError(
            f"there are no runs below {root} and it holds no {plan_folder.PLAN}: give a folder that gip_exp.plan wrote "
            "(--write), or one above runs, e.g. outputs"
        )
    told = [lock.read(folder, RUN_LOCK) for folder in folders]
    known = slurm.jobs([str(facts["slurm_job"]) for facts in told if "slurm_job" in facts])
    return [_unplanned(root, folder, known) for folder in folders]


def _unplanned(root: Path, folder: Path, known: Mapping[str, slurm.Job]) -> State:
    name = str(folder.relative_to(root)) if folder != root else folder.name
    base = State("", name, MISSING, folder=str(folder))
    at_work, told = lock.look(folder, RUN_LOCK)
    if _result(folder).get("status") == DONE:
        return replace(base, state=DONE)
    if at_work:
        return _running(base, told)
    return _in_queue(base, [str(told.get("slurm_job"))], known) or _at_rest(base, told, folder, known)


def _at_rest(base: State, told: LockRecord, folder: Path, known: Mapping[str, slurm.Job]) -> State:
    """A run that nobody holds and nobody queued: how did its last process end?"""
    job = known.get(str(told.get("slurm_job")))
    if told and "ended" not in told:
        return replace(base, state=KILLED, reason=_killed(told, job), where=_where(told))
    if "error" in told:
        reason = str(told["error"]).removeprefix("UserError: ")
        return replace(base, state=FAILED, reason=reason, where=_where(told))
    if "stopped" in told:
        return replace(base, state=STOPPED, reason=_stopped(told, job), where=_where(told))
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
        return replace(base, state=FAILED, reason=f"{RESULT} is damaged or half-written: run it again")
    if (folder / CONFIG).is_file():
        return replace(base, state=KILLED, reason="it left no result and no word")
    return base


def _running(base: State, told: LockRecord) -> State:
    return replace(
        base, state=RUNNING, stage=str(told.get("stage", "")), since=told.get("started"), where=_where(told)
    )


def _killed(told: LockRecord, job: slurm.Job | None) -> str:
    said = slurm.in_words(job) if job else ""
    during = f" during {told['stage']}" if told.get("stage") else ""
    return f"{said or 'its process is gone without a word (killed, out of memory, node lost)'}{during}"


def _stopped(told: LockRecord, job: slurm.Job | None) -> str:
    if told["stopped"] == "KeyboardInterrupt":
        return "by Ctrl-C"
    said = (slurm.in_words(job) if job else "") or str(told.get("slurm_reason") or "")
    return f"by SIGTERM ({said})" if said else "by SIGTERM"


def _where(told: LockRecord) -> str:
    if "slurm_job" in told:
        return f"job {told['slurm_job']} on {told.get('host')}"
    return f"{told['host']}, process {told.get('pid')}" if "host" in told else ""


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
    """Offline W&B runs of these run folders that were not uploaded yet (`wandb sync` leaves a `.synced` beside)."""
    found = []
    for folder in folders:
        for place in sorted((Path(folder) / "wandb").glob("offline-run-*")):
            if not any(place.glob("*.synced")):
                found.append(place)
    return found


def to_submit(plan: Path) -> dict[str, list[int]]:
    """The runs that nobody works on, by what they need next: cpu or gpu (their selection), or train."""
    found: dict[str, list[int]] = {"cpu": [], "gpu": [], "train": []}
    by_name = {state.name: state.state for state in of_plan(plan)}
    for run in plan_folder.read(plan):
        if by_name[run.name] in (DONE, RUNNING, QUEUED):
            continue
        selected = (Path(run.folder) / SELECTED_FILE).is_file()
        found["train" if selected else run.selects_on].append(run.number)
    return found
