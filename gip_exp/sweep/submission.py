"""Which job arrays the unfinished runs of a plan need, and submitting them.

A run needs its selection and, after it, its training and evaluation. What is done, queued or running is left out, for
each of the two separately: training that sbatch refused while it took the selection is added to that selection later.
"""

import secrets
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gip_exp.errors import UserError
from gip_exp.import_path import ROOT
from gip_exp.runs import sbatch
from gip_exp.runs.folder import SELECTED
from gip_exp.sweep import job_arrays, plan_folder, state
from gip_exp.sweep.cluster import Cluster, Node
from gip_exp.sweep.job_arrays import JobArray, Phase, as_array
from gip_exp.sweep.plan_folder import PlannedRun
from gip_exp.sweep.state import State, Survey

SCRIPTS = ROOT / "slurm"
Need = tuple[int, str]  # kind of group (an index of SELECTS_ON), and the queued selection that it waits for
SELECTS_ON: tuple[Node | None, ...] = ("cpu", "gpu", None, None)
QUEUED_SELECTION, SELECTED_ALREADY = 2, 3


@dataclass(frozen=True)
class Group:
    """Runs that need the same next.

    Attributes:
        runs: the runs, at most as many as an array takes.
        first: number of the run that is task 0 of their arrays.
        selects_on: kind of node of the selection to submit; None if they are selected, or their selection is queued.
        trains: whether training follows.
        after: id of the queued selection that the training waits for; empty if there is none.
    """

    runs: tuple[PlannedRun, ...]
    first: int
    selects_on: Node | None
    trains: bool
    after: str = ""

    @property
    def numbers(self) -> list[int]:
        """The numbers of the runs."""
        return [run.number for run in self.runs]

    @property
    def jobs_per_run(self) -> int:
        """Number of jobs it submits for each run."""
        return (self.selects_on is not None) + self.trains


def groups(survey: Survey, array_size: int) -> list[Group]:
    """Return what is left to submit, in arrays of at most `array_size` tasks: selections on CPU nodes first.

    Raises:
        UserError: SLURM does not say which jobs are queued.
    """
    if survey.silent:
        raise UserError(f"nothing was submitted, because SLURM does not say what is queued: {survey.silent}")
    firsts = {array.job: array.first for array in survey.arrays}
    found: dict[tuple[Need, bool, int], list[PlannedRun]] = {}
    for run, one in zip(survey.runs, survey.states, strict=True):
        need = _need(run, one, survey.queued(run))
        if need is not None:
            # Tasks that wait for each other have the same number.
            first = firsts[need[1]] if need[1] else run.number // array_size * array_size
            found.setdefault((need, run.trains, first), []).append(run)
    return [
        Group(tuple(runs), first, SELECTS_ON[kind], trains, after)
        for ((kind, after), trains, first), runs in sorted(found.items(), key=lambda item: item[0])
    ]


def _need(run: PlannedRun, now: State, queued: Mapping[Phase, JobArray]) -> Need | None:
    if now.state == state.DONE or "train" in queued:
        return None
    if "select" in queued:
        return (QUEUED_SELECTION, queued["select"].job) if run.trains else None
    if now.state in (state.RUNNING, state.QUEUED):
        return None  # by a process or a job outside the plan's arrays
    if run.trains and (Path(run.folder) / SELECTED).is_file():
        return SELECTED_ALREADY, ""
    return (0 if run.selects_on == "cpu" else 1), ""


def fitting(wanted: Sequence[Group], most: int | None) -> tuple[list[Group], list[int]]:
    """Return the groups cut to `most` jobs (None: all), and the numbers of the runs left out."""
    if most is None:
        return list(wanted), []
    kept, left = [], []
    for group in wanted:
        fits = min(len(group.runs), most // group.jobs_per_run)
        if fits:
            kept.append(replace(group, runs=group.runs[:fits]))
        left += group.numbers[fits:]
        most -= fits * group.jobs_per_run
    return kept, left


@dataclass
class Submission:
    """Submits arrays to SLURM, or only lists sbatch's command lines.

    Attributes:
        plan: folder of the plan, absolute.
        cluster: settings of the cluster.
        environment: environment of sbatch.
        exported: variables to be named, because the site passes none on.
        dry: whether only to list the lines.
        done: what was submitted, in words.
        refused: refusals with their remedies.
        lines: command lines of sbatch, if `dry`.
    """

    plan: Path
    cluster: Cluster
    environment: Mapping[str, str]
    exported: Sequence[str] = ()
    dry: bool = False
    done: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    _last: dict[tuple[Phase, Node], str] = field(
        default_factory=dict
    )  # newest array of a kind; '' if refused

    def submit(self, wanted: Iterable[Group]) -> None:
        """Submit the arrays of all groups; a refusal ends its kind of array, not the others."""
        for group in wanted:
            runs, after = as_array(group.numbers), group.after
            order = f"after it (job {after})" if after else "selected already"
            if group.selects_on is not None:
                model = ", which needs the model" if group.selects_on == "gpu" else ""
                after = self._array(group, "select", group.selects_on, f"selection of runs {runs}{model}")
                order = "after it"
                if not after:
                    continue  # no training without its selection
            if group.trains:
                comma = "" if after else ","
                self._array(group, "train", "gpu", f"training of runs {runs}{comma} {order}", after)

    def _array(self, group: Group, phase: Phase, node: Node, what: str, after: str = "") -> str:
        """Submit one array; return its id, or '' if it is refused."""
        kind = (phase, node)
        if self._last.get(kind) == "":
            self.refused.append(f"{what} was not tried, because of the refusal above")
            return ""
        array = JobArray(f"gip-{phase}-{secrets.token_hex(4)}", phase, group.first, tuple(group.numbers))
        arguments = self._arguments(group, array, node, after)
        if self.dry:
            variable = f"job{len(self.lines) + 1}"
            text = " ".join(map(_quoted, arguments))
            self.lines.append(f"{variable}=$(sbatch --parsable {text})  # {what}")
            self._last[kind] = (
                f"${{{variable}%;*}}"  # the name of the cluster follows the id if there are several
            )
        else:
            self._last[kind] = self._call(array, arguments, node, what)
        return self._last[kind]

    def _call(self, array: JobArray, arguments: Sequence[str], node: Node, what: str) -> str:
        job_arrays.record(self.plan, array)
        try:
            job = sbatch.submit(arguments, self.environment)
        except sbatch.RefusedError as error:
            job_arrays.record_answer(self.plan, array, refused=str(error))
            self.refused.append(f"{what} was refused: {error}\n  {error.remedy(node)}")
            return ""
        except sbatch.NoReplyError as error:
            self.refused.append(f"{what}: {error}; the next call asks SLURM whether the jobs are queued")
            return ""
        job_arrays.record_answer(self.plan, array, job=job)
        self.done.append(f"{what}: job {job}")
        return job

    def _arguments(self, group: Group, array: JobArray, node: Node, after: str) -> list[str]:
        """Return sbatch's arguments: the user's options come last and win."""
        alone = array.phase == "select" and node == "gpu"  # LESS, hidden states: runs share expensive outputs
        at_once = 1 if alone else self.cluster.at_once
        tasks = as_array([number - group.first for number in group.numbers])
        # The limit holds for all arrays together: the next begins after the last one.
        before = self._last.get((array.phase, node), "") if at_once else ""
        waits = [f"{self.cluster.dependency}:{after}"] * bool(after) + [f"afterany:{before}"] * bool(before)
        logs = str(self.plan / plan_folder.LOGS).replace("%", "%%")
        return [
            f"--job-name={array.name}",
            f"--array={tasks}{f'%{at_once}' if at_once else ''}",
            f"--output={logs}/{array.phase}-%A_%a.out",
            *([f"--export={','.join(self.exported)}"] if self.exported else []),
            *([f"--dependency={','.join(waits)}"] if waits else []),
            *(["--kill-on-invalid-dep=yes"] if after else []),
            *self.cluster.options(node, max(run.gpus for run in group.runs)),
            str(SCRIPTS / f"{array.phase}.sbatch"),
            *(self.cluster.python, str(self.plan), str(group.first)),
            *(["until=select"] if array.phase == "select" and group.trains else []),
        ]


def _quoted(argument: str) -> str:
    """Quote an argument for a shell, in which the ids of earlier jobs are variables."""
    return f'"{argument}"' if argument.startswith("--dependency=") else shlex.quote(argument)
