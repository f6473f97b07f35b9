"""States of SLURM jobs: from `squeue`, and from `sacct` if there is accounting. Neither is required.

A job is named as SLURM prints it: `12`, or `12_3` for task 3 of array 12.
"""

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gip_exp.runs.records import LockRecord

SECONDS = 20  # timeout of SLURM's commands
WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "CONFIGURING"})
RUNNING = frozenset({"RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT"})
GOOD = frozenset({"COMPLETED", "COMPLETING"})
NEVER = "DependencyNeverSatisfied"
MESSAGES = {
    "TIMEOUT": "out of time: raise the time limit",
    "DEADLINE": "out of time: its deadline passed",
    "OUT_OF_MEMORY": "out of memory: ask for more",
    "PREEMPTED": "preempted",
    "CANCELLED": "cancelled",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node failed",
}
REASONS = {"TimeLimit": MESSAGES["TIMEOUT"]}  # given while the state is still COMPLETING


@dataclass(frozen=True)
class Job:
    """A job's state as SLURM writes it, without flags (`RUNNING`, `TIMEOUT`), and its reason (`Dependency`)."""

    state: str
    reason: str = ""

    @property
    def waiting(self) -> bool:
        """Whether it is queued and can still start."""
        return self.state in WAITING and self.reason != NEVER

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.state in RUNNING


def own_job(environment: Mapping[str, str]) -> LockRecord:
    """Return the id of the job this process runs in (as SLURM prints it) and its restarts; empty outside a job."""
    array, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else environment.get("SLURM_JOB_ID")
    if not job:
        return {}
    return {"slurm_job": job, "slurm_restarts": environment.get("SLURM_RESTART_COUNT", "0")}


def node_count(environment: Mapping[str, str]) -> int:
    """Return the number of nodes of the job this process runs in; 1 outside a job."""
    return int(environment.get("SLURM_JOB_NUM_NODES") or 1)


def jobs(ids: Iterable[str]) -> dict[str, Job]:
    """Return every job and array task of `ids` that SLURM knows, by name; empty without SLURM."""
    found: dict[str, Job] = {}
    # One by one, because squeue refuses a list that contains an unknown job.
    for array_id in sorted({job.split("_")[0] for job in ids}):
        lines = _run("squeue", "-h", "-r", "-t", "all", "-o", "%F|%K|%T|%r", "-j", array_id)
        if lines is None:
            lines = _run("sacct", "-n", "-X", "-P", "-o", "JobID,State", "-j", array_id)
            found.update(_from_sacct(lines or []))
            continue
        for line in lines:
            array, task, state, reason = line.split("|", 3)
            found[array if task in ("N/A", "") else f"{array}_{task}"] = Job(state, reason)
    return found


def _from_sacct(lines: Iterable[str]) -> dict[str, Job]:
    rows = (line.split("|", 1) for line in lines if "|" in line)
    return {name: Job(state.split()[0]) for name, state in rows if state.strip()}


def why_ended(job: Job) -> str:
    """Return why SLURM ended a job, or '' if it did not."""
    return MESSAGES.get(job.state, "") or REASONS.get(job.reason, "")


def why_stopped(job: str | None) -> str:
    """Return why SLURM is ending this job now (`TimeLimit`, ... as the controller writes it), or ''."""
    if job is None:
        return ""
    for line in _run("scontrol", "--oneliner", "show", "job", job) or []:
        fields = dict(part.split("=", 1) for part in line.split() if "=" in part)
        return fields.get("Reason", "None").replace("None", "")
    return ""


def _run(*command: str) -> list[str] | None:
    """Return the lines a command prints; None if it is missing, fails or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return [line for line in done.stdout.splitlines() if line.strip()]
