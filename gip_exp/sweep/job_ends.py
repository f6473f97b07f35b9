"""Why a job of a plan ended before its process could write a record: by SLURM's word and by the job's output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gip_exp.runs import slurm
from gip_exp.runs.folder import CONFIG
from gip_exp.runs.records import LockRecord
from gip_exp.sweep import plan_folder
from gip_exp.sweep.job_arrays import JobArray
from gip_exp.sweep.plan_folder import PlannedRun

TAIL, LINE = 4_096, 200  # bytes read at the end of a job's output; characters shown of a line


@dataclass(frozen=True)
class End:
    """The end of a job: whether it was cancelled, why it ended, and the job."""

    cancelled: bool
    reason: str
    where: str


def before_a_record(
    plan: Path,
    run: PlannedRun,
    arrays: Sequence[JobArray],
    record: LockRecord,
    known: Mapping[str, slurm.Job],
) -> End | None:
    """Return how the newest job of a run ended, if it wrote no record and a process before it did or none did.

    A training that was cancelled because its selection failed has no end of its own: the selection is the cause. What
    SLURM has forgotten is told by the job's output.

    Args:
        plan: folder of the plan.
        run: the run.
        arrays: the arrays that contain it, oldest first.
        record: record of the last process that wrote one, or empty.
        known: SLURM's jobs by name.
    """
    ended = [array for array in arrays if _own_end(plan, run, array, known)]
    recorded = [i for i, array in enumerate(ended) if array.task(run.number) == record.get("slurm_job")]
    unrecorded = ended[recorded[-1] + 1 :] if recorded else ended
    if not unrecorded or (record and not recorded):  # a process outside the plan's jobs has the last word
        return None
    newest = unrecorded[-1]
    name = newest.task(run.number)
    job = _job(run, newest, known)
    if job and job.state in slurm.GOOD:
        return None
    log = f"{plan_folder.LOGS}/{newest.log(run.number)}"
    last = _last_line(plan / log)
    if job is None and (not last or (Path(run.folder) / CONFIG).is_file()):
        return None  # the run folder tells more
    why = f"{slurm.why_ended(job) or f'SLURM says {job.state}'}, " if job else ""
    phase = "selection" if newest.phase == "select" else "training"
    return End(
        cancelled=job is not None and job.state == "CANCELLED",
        reason=f"{why}before its {phase} began{_told(plan, log, last)}",
        where=f"job {name}",
    )


def _told(plan: Path, log: str, last: str) -> str:
    """Return what a job printed last and where; '' if it never started, so that it has no output."""
    if last:
        return f": {last} ({log})"
    return f": see {log}" if (plan / log).is_file() else ""


def _own_end(plan: Path, run: PlannedRun, array: JobArray, known: Mapping[str, slurm.Job]) -> bool:
    """Return whether the job of a run began, or was ended for another reason than the job that it waits for."""
    if (plan / plan_folder.LOGS / array.log(run.number)).is_file():
        return True
    job = _job(run, array, known)
    return job is not None and job.reason not in (slurm.NEVER, "Dependency")


def _job(run: PlannedRun, array: JobArray, known: Mapping[str, slurm.Job]) -> slurm.Job | None:
    """Return the job of a run; an array that is cancelled before a task began has one record, without tasks."""
    return known.get(array.task(run.number)) or known.get(array.job)


def _last_line(log: Path) -> str:
    """Return the last line that a job printed, shortened; '' if it printed nothing."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    printed = [line.strip() for line in lines if line.strip()]
    return printed[-1][:LINE] if printed else ""
