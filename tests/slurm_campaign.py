"""What a cluster does to jobs, on a real SLURM: the same results in the end, and the right state meanwhile.

    python tests/slurm_campaign.py [--only TEXT ...]

Each case starts a run (LESS: gradients in the selection, then a fine-tuning with dropout), lets SLURM interfere while the
stage is at work, and compares the selected rows, the adapter and the metrics with those of an undisturbed run, byte by
byte. For a time limit, which SLURM counts in minutes, the run is longer. Takes about twenty minutes.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import slurm_cluster
from conftest import MICRO, ROOT
from slurm_cluster import Cluster

from gip_exp.sweep import state as progress
from gip_exp.sweep.state import State

OVERRIDES = [
    *MICRO,
    "data.n=500",
    "selector=less",
    "train.steps=120",
    "train.dropout=0.1",
    "train.checkpoint_steps=10",
]
LONGER = [
    *OVERRIDES,
    "data.n=6000",
    "train.steps=800",
]  # either stage takes more than the minute of a time limit
SECONDS = 900
STAGES = ("gradients", "train")


@dataclass
class Case:
    """A run of a plan on the cluster, and the states that were seen."""

    cluster: Cluster
    folder: Path
    seen: list[str]

    @property
    def plan(self) -> Path:
        return self.folder / "plan"

    def submit(self) -> str:
        return command(self.cluster, "submit", self.plan)

    def until(self, true: Callable[[State], bool], what: str) -> State:
        end = time.monotonic() + SECONDS
        while not true(state := progress.of_plan(self.plan)[0]):
            self.note(state)
            assert time.monotonic() < end, f"{what}: {state}"
            time.sleep(0.2)
        self.note(state)
        return state

    def note(self, state: State) -> None:
        reason = "" if state.state == progress.RUNNING else re.sub(r"/tmp\S+", "...", state.reason)[:60]
        words = " ".join(filter(None, [state.state, state.stage, f"({reason})" * bool(reason)]))
        if [words] != self.seen[-1:]:
            self.seen.append(words)

    def job(self, stage: str) -> str:
        """Wait until the run is at work on a stage; return the job."""
        state = self.until(lambda state: state.state == progress.RUNNING and state.stage == stage, stage)
        return re.match(r"job (\S+)", state.where)[1]

    def ask(self, *words: str) -> str:
        return self.cluster.ask("scontrol", *words)

    def start_now(self, job: str) -> None:
        """SLURM waits two minutes before it starts a job again."""
        end = time.monotonic() + 60
        while "PENDING" not in self.ask("show", "job", job) and time.monotonic() < end:
            time.sleep(0.2)
        self.ask("update", f"JobId={job}", "StartTime=now")


def requeue(case: Case, job: str) -> None:
    case.ask("requeue", job)
    case.until(lambda state: state.state == progress.QUEUED, "queued again")
    case.start_now(job)
    assert "Restarts=1" in case.ask("show", "job", job), "the job had ended before SLURM queued it again"


def time_limit(case: Case, job: str) -> None:
    """The job is ended a minute after its start, while the stage is at work; the next submission goes on."""
    case.ask("update", f"JobId={job}", "TimeLimit=1")
    state = case.until(lambda state: state.state not in (progress.RUNNING, progress.QUEUED), "out of time")
    assert state.state == progress.STOPPED, f"the run ended before its time limit: {state}"
    assert "out of time" in state.reason or "TimeLimit" in state.reason, state
    case.submit()


def drained(case: Case, job: str) -> None:
    """A drained node finishes its jobs and starts no other: the training of this run waits."""
    case.ask("update", f"NodeName={case.cluster.node}", "State=DRAIN", "Reason=campaign")
    case.until(lambda state: state.state != progress.RUNNING, "the end of the job")
    case.note(progress.of_plan(case.plan)[0])
    case.ask("update", f"NodeName={case.cluster.node}", "State=RESUME")


def node_down(case: Case, job: str) -> None:
    """A node that is lost: SLURM kills and queues its jobs again."""
    case.ask("update", f"NodeName={case.cluster.node}", "State=DOWN", "Reason=campaign")
    case.until(lambda state: state.state == progress.QUEUED, "queued again")
    time.sleep(10)  # a node that still ends the old job refuses the new one, and SLURM holds it
    case.ask("update", f"NodeName={case.cluster.node}", "State=RESUME")
    case.start_now(job)
    assert "Restarts=1" in case.ask("show", "job", job), "the job had ended before its node was lost"


def controller(case: Case, job: str) -> None:
    """Jobs outlive the controller; meanwhile nothing can be submitted."""
    case.cluster.stop_controller()
    said = command(case.cluster, "submit", case.plan, code=2)
    assert "nothing was submitted" in said, said
    time.sleep(2)
    case.cluster.start_controller()
    end = time.monotonic() + 60
    while not case.cluster.ask("squeue", "-h").strip() and time.monotonic() < end:
        time.sleep(0.2)


EVENTS = (requeue, time_limit, drained, node_down, controller)


@dataclass(frozen=True)
class Undisturbed:
    """A run without a cluster: its overrides, what it made, and the outputs that every case begins with."""

    overrides: Sequence[str]
    base: Path
    expected: dict[str, bytes]


def undisturbed(folder: Path, overrides: Sequence[str]) -> Undisturbed:
    base, alone = folder / "base", folder / "alone"
    command({}, *overrides, f"paths.root={base}", "until=base")
    shutil.rmtree(base / "runs")
    shutil.copytree(base, alone)
    command({}, *overrides, f"paths.root={alone}")
    return Undisturbed(overrides, base, results(alone))


def command(environment: dict[str, str], *words: object, code: int = 0) -> str:
    texts = [sys.executable, "-m", "gip_exp", *map(str, words)]
    done = subprocess.run(
        texts, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def results(root: Path) -> dict[str, bytes]:
    """What a run made: selected rows, metrics, adapter."""
    (folder,) = (path.parent for path in root.glob("runs/*/*/result.json"))
    (adapter,) = root.glob("store/train/*/adapter/adapter_model.safetensors")
    metrics = json.loads((folder / "result.json").read_text())["metrics"]
    return {
        "rows": (folder / "selected.jsonl").read_bytes(),
        "metrics": json.dumps(metrics, sort_keys=True).encode(),
        "adapter": adapter.read_bytes(),
    }


def perform(
    cluster: Cluster, folder: Path, alone: Undisturbed, stage: str, event: Callable[[Case, str], None]
) -> Case:
    root = folder / "outputs"
    shutil.copytree(alone.base, root)
    case = Case(cluster, folder, [])
    command(cluster, "plan", *alone.overrides, f"paths.root={root}", "--write", case.plan)
    case.submit()
    event(case, case.job(stage))
    for _ in range(2):
        state = case.until(
            lambda state: state.state not in (progress.RUNNING, progress.QUEUED, progress.UNKNOWN), "the end"
        )
        if state.state == progress.DONE:
            return case
        time.sleep(2)
        case.submit()  # the training of a selection that was stopped
    case.until(lambda state: state.state == progress.DONE, "done")
    return case


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[""], help="cases whose names hold one of these texts")
    only = parser.parse_args().only
    if problem := slurm_cluster.missing():
        print(problem, file=sys.stderr)
        return 2
    os.environ |= {
        "GIP_CPU_ARGS": "--cpus-per-task=1",
        "GIP_GPU_ARGS": "--cpus-per-task=1",
        "WANDB_MODE": "offline",
    }
    cases = [(stage, event) for stage in STAGES for event in EVENTS]
    cases = [case for case in cases if any(text in _name(*case) for text in only)]
    cases.sort(key=lambda case: case[1] is time_limit)  # the long run last
    bad = 0
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "cluster").mkdir()
        with slurm_cluster.cluster(Path(place) / "cluster", cpus=2) as cluster:
            os.environ |= cluster
            alone: Undisturbed | None = None
            for stage, event in cases:
                overrides = LONGER if event is time_limit else OVERRIDES
                if alone is None or alone.overrides is not overrides:
                    alone = undisturbed(Path(place) / f"{len(overrides)} overrides", overrides)
                bad += not told(cluster, Path(place), alone, stage, event)
    print(f"{bad} bad")
    return 1 if bad else 0


def told(
    cluster: Cluster, place: Path, alone: Undisturbed, stage: str, event: Callable[[Case, str], None]
) -> bool:
    """Run a case and print what was seen; return whether its results are those of the undisturbed run."""
    name, started = _name(stage, event), time.monotonic()
    try:
        case = perform(cluster, place / name.replace(" ", "_"), alone, stage, event)
        found = results(case.folder / "outputs")
        differ = [what for what in alone.expected if found[what] != alone.expected[what]]
    except AssertionError as error:
        differ, case = [str(error)], None
    said = f"DIFFERENT: {', '.join(differ)}" if differ else "the same results"
    print(f"{name}: {said}, {time.monotonic() - started:.0f} s", flush=True)
    if case is not None:
        print("   " + " -> ".join(case.seen), flush=True)
    return not differ


def _name(stage: str, event: Callable[[Case, str], None]) -> str:
    return f"{event.__name__} in {stage}"


if __name__ == "__main__":
    sys.exit(main())
