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
# Reasons with which a queued job will not start by itself.
STUCK = {
    "PartitionTimeLimit": "its time limit is above the partition's",
    "PartitionConfig": "it asks for more than a node of the partition has",
    "BadConstraints": "no node meets its constraints",
    "JobHeldAdmin": "held by the administrator",
    "JobHeldUser": "held: scontrol release JOB",
    "launch failed requeued held": "its node refused it, so SLURM holds it: scontrol release JOB",
}


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


class NoAnswerError(Exception):
    """SLURM's controller does not answer, or its commands are not installed; the message says which."""


def node_count(environment: Mapping[str, str]) -> int:
    """Return the number of nodes of the job this process runs in; 1 outside a job."""
    return int(environment.get("SLURM_JOB_NUM_NODES") or 1)


def jobs(ids: Iterable[str]) -> dict[str, Job]:
    """Return every job and array task of `ids` that SLURM knows, by name.

    Raises:
        NoAnswerError: it is not known which jobs are queued.
    """
    arrays = sorted({job.split("_")[0] for job in ids})
    if not arrays:
        return {}
    # The first one twice: squeue fails for a single unknown job, but leaves unknown ones out of a list.
    asked = ",".join([*arrays, arrays[0]])
    found: dict[str, Job] = {}
    for line in query("squeue", "-h", "-r", "-t", "all", "-o", "%F|%K|%T|%r", "-j", asked):
        array, task, state, reason = line.split("|", 3)
        found[array if task in ("N/A", "") else f"{array}_{task}"] = Job(state, reason)
    forgotten = set(arrays) - {name.split("_")[0] for name in found}
    if forgotten:
        lines = _run("sacct", "-n", "-X", "-P", "-o", "JobID,State", "-j", ",".join(sorted(forgotten)))
        found.update(_from_sacct(lines or []))
    return found


def query(*command: str) -> list[str]:
    """Return the lines that a command of SLURM prints. Raises NoAnswerError if it is missing, fails or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except FileNotFoundError:
        raise NoAnswerError(f"{command[0]} is not installed on this machine") from None
    except subprocess.TimeoutExpired:
        raise NoAnswerError(f"{command[0]} did not answer within {SECONDS} s") from None
    except OSError as error:
        raise NoAnswerError(f"{command[0]}: {error.strerror or error}") from None
    if done.returncode:
        message = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise NoAnswerError(f"{command[0]}: {message[-1]}")
    return [line for line in done.stdout.splitlines() if line.strip()]


def _from_sacct(lines: Iterable[str]) -> dict[str, Job]:
    rows = (line.split("|", 1) for line in lines if "|" in line)
    # `12_[3-9]` are the tasks that have no record of their own.
    return {name.partition("_[")[0]: Job(state.split()[0]) for name, state in rows if state.strip()}


def why_waiting(job: Job) -> str:
    """Return why a queued job waits, in SLURM's word, and whether it will not start by itself; '' if SLURM says none."""
    if job.reason in STUCK:
        return f"{job.reason}: will not start, {STUCK[job.reason]}"
    return "" if job.reason in ("", "None") else job.reason


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
    """Return the lines a command prints; None if it does not answer."""
    try:
        return query(*command)
    except NoAnswerError:
        return None
