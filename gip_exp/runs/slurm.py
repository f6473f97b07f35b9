"""What SLURM says about jobs: `squeue` for those it still knows, `sacct` where there is accounting. Neither is needed.

A job is named as SLURM prints it: `12`, or `12_3` for task 3 of array 12.
"""

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gip_exp.runs.records import LockRecord

SECONDS = 20  # a busy controller answers late; status must not hang on it
WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "CONFIGURING"})
AT_WORK = frozenset({"RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT"})
GOOD = frozenset({"COMPLETED", "COMPLETING"})
NEVER = "DependencyNeverSatisfied"
WORDS = {
    "TIMEOUT": "out of time: raise the time limit",
    "DEADLINE": "out of time: its deadline passed",
    "OUT_OF_MEMORY": "out of memory: ask for more",
    "PREEMPTED": "preempted",
    "CANCELLED": "cancelled",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node failed",
}
REASONS = {"TimeLimit": WORDS["TIMEOUT"]}  # said while the state is still COMPLETING


@dataclass(frozen=True)
class Job:
    """State as SLURM spells it, without flags (`RUNNING`, `TIMEOUT`), and its reason (`Dependency`)."""

    state: str
    reason: str = ""

    @property
    def waiting(self) -> bool:
        return self.state in WAITING and self.reason != NEVER

    @property
    def at_work(self) -> bool:
        return self.state in AT_WORK


def own_job(environment: Mapping[str, str]) -> LockRecord:
    """`slurm_job` (as SLURM prints it) and how often it was restarted, inside a job; else nothing."""
    array, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else environment.get("SLURM_JOB_ID")
    if not job:
        return {}
    return {"slurm_job": job, "slurm_restarts": environment.get("SLURM_RESTART_COUNT", "0")}


def jobs(ids: Iterable[str]) -> dict[str, Job]:
    """Every job and array task of `ids` that SLURM knows, by name; empty without SLURM."""
    whole = sorted({one.split("_")[0] for one in ids})
    found: dict[str, Job] = {}
    for one in whole:  # one by one: squeue refuses a whole list for the sake of one job it has forgotten
        lines = _ask("squeue", "-h", "-r", "-t", "all", "-o", "%F|%K|%T|%r", "-j", one)
        if lines is None:
            lines = _ask("sacct", "-n", "-X", "-P", "-o", "JobID,State", "-j", one)
            found.update(_accounted(lines or []))
            continue
        for line in lines:
            array, task, state, reason = line.split("|", 3)
            found[array if task in ("N/A", "") else f"{array}_{task}"] = Job(state, reason)
    return found


def _accounted(lines: Iterable[str]) -> dict[str, Job]:
    rows = (line.split("|", 1) for line in lines if "|" in line)
    return {name: Job(state.split()[0]) for name, state in rows if state.strip()}


def in_words(job: Job) -> str:
    """Why SLURM ended a job, or '' if it did not."""
    return WORDS.get(job.state, "") or REASONS.get(job.reason, "")


def why_stopped(job: str | None) -> str:
    """Asked by a job that SLURM is ending right now: `TimeLimit`, ... as the controller spells it; '' if it does not say."""
    if job is None:
        return ""
    for line in _ask("scontrol", "--oneliner", "show", "job", job) or []:
        facts = dict(part.split("=", 1) for part in line.split() if "=" in part)
        return facts.get("Reason", "None").replace("None", "")
    return ""


def _ask(*command: str) -> list[str] | None:
    """The command's lines; None where it is missing, fails or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return [line for line in done.stdout.splitlines() if line.strip()]
