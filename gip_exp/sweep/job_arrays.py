"""The job arrays submitted for a plan: `DIR/jobs.jsonl`.

An array is recorded before sbatch is called, under a job name that no other array has, and again with its id or with
sbatch's refusal. A record without an answer belongs to a submission that was killed in between; SLURM knows by the name
whether the array exists.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gip_exp.errors import UserError

JOBS = "jobs.jsonl"
Phase = Literal["select", "train"]


@dataclass(frozen=True)
class JobArray:
    """An array of jobs; its task N works on run `first` + N, because SLURM limits the largest task number.

    Attributes:
        name: the jobs' name, unique.
        phase: select, or train for training and evaluation.
        first: number of the run of task 0.
        runs: numbers of its runs.
        job: its id; empty if sbatch's answer is not recorded.
    """

    name: str
    phase: Phase
    first: int
    runs: tuple[int, ...]
    job: str = ""

    def task(self, run: int) -> str:
        """Return the job of a run as SLURM names it, e.g. `12_3`; empty if it has none here."""
        return f"{self.job}_{run - self.first}" if self.job and run in self.runs else ""

    def log(self, run: int) -> str:
        """Return the name of the file below `logs/` that the job of a run writes."""
        return f"{self.phase}-{self.task(run)}.out"


def as_array(numbers: Sequence[int]) -> str:
    """Format numbers for sbatch's --array, and for people: `0-3,7`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def read(plan: Path) -> list[JobArray]:
    """Return the arrays submitted for a plan, without those that sbatch refused, oldest first.

    Raises:
        UserError: the file is damaged.
    """
    path = plan / JOBS
    found: dict[str, dict[str, Any]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        for line in filter(str.strip, lines):
            row = json.loads(line)
            found.setdefault(row["name"], {}).update(row)
        return [
            JobArray(row["name"], row["phase"], row["first"], tuple(row["runs"]), row.get("job", ""))
            for row in found.values()
            if "refused" not in row
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is damaged ({error!r}), so it is not known which jobs were submitted: check the queue "
            "(squeue --me), remove the damaged lines, and repeat the command"
        ) from error


def record(plan: Path, array: JobArray) -> None:
    """Record an array that is about to be submitted."""
    _append(plan, {"name": array.name, "phase": array.phase, "first": array.first, "runs": list(array.runs)})


def record_answer(plan: Path, array: JobArray, *, job: str = "", refused: str = "") -> None:
    """Record sbatch's answer for an array: the id of the job, or the refusal."""
    _append(plan, {"name": array.name, **({"job": job} if job else {"refused": refused})})


def _append(plan: Path, row: dict[str, Any]) -> None:
    path = plan / JOBS
    try:
        torn = path.is_file() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" * torn + json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}), so no job is submitted: make room or get write "
            "permission for the folder of the plan"
        ) from error
