"""Sweeps on a real SLURM: through `gip-exp submit` and through `hydra/launcher=slurm`, with a kill, a requeue and a failure."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import MICRO, ROOT

from gip_exp.sweep import job_arrays
from gip_exp.sweep import state as progress
from gip_exp.sweep.state import State

ONE_CPU = {"GIP_CPU_ARGS": "--cpus-per-task=1", "GIP_GPU_ARGS": "--cpus-per-task=1"}
SECONDS = 400


@pytest.fixture
def run(slurm, monkeypatch):
    """Run a command in the checkout with the cluster in reach, and let this process's own squeue find it too."""
    for name, value in {**slurm, **ONE_CPU, "GIP_PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}.items():
        monkeypatch.setenv(name, value)

    def ran(*command: object) -> subprocess.CompletedProcess[str]:
        texts = [str(part) for part in command]
        return subprocess.run(texts, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)

    return ran


def plan(run, folder: Path, root: Path, *overrides: str) -> Path:
    done = run(
        sys.executable, "-m", "gip_exp.plan", *MICRO, f"paths.root={root}", *overrides, "--write", folder
    )
    assert done.returncode == 0, done.stderr
    return folder


def rankings(folder: Path) -> str:
    """Return the paths of a ranking of the pool and of one that fails, as it names a row that is not there."""
    good, bad = folder / "good.jsonl", folder / "bad.jsonl"
    good.write_text("".join(f'{{"id": "train-{number:06d}"}}\n' for number in range(40)))
    bad.write_text('{"id": "nobody"}\n')
    return f"{good},{bad}"


def submit(run, folder: Path) -> str:
    done = run(ROOT / "slurm" / "submit.sh", folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def until(folder: Path, true, seconds: float = SECONDS) -> list[State]:
    """Look at the plan until `true(states)`, and return those states."""
    end = time.monotonic() + seconds
    while not true(states := progress.of_plan(folder)):
        assert time.monotonic() < end, [(state.name, state.state, state.reason) for state in states]
        time.sleep(0.2)
    return states


def counted(states: list[State]) -> dict[str, int]:
    return dict(Counter(state.state for state in states))


def at_rest(states: list[State]) -> bool:
    return not {progress.RUNNING, progress.QUEUED} & {state.state for state in states}


def running_in(stage: str):
    """A condition: some run is at work on `stage`, told by its own process."""
    return lambda states: any(state.state == progress.RUNNING and state.stage == stage for state in states)


def made(folder: Path) -> Counter[str]:
    """How often each stage was finished, over everything the plan's jobs printed."""
    lines = "".join(path.read_text() for path in (folder / "logs").glob("*.out"))
    return Counter(re.findall(r"^  (\S+): [\d.]+ s$", lines, re.MULTILINE))


def test_a_sweep_with_a_kill_and_a_requeue_is_finished_by_the_same_command_again(run, tmp_path):
    root = tmp_path / "outputs"
    axes = ["selector=mp_ma,mp_sc,random", "budget=0.08,0.1", "seed=0,1"]
    folder = plan(run, tmp_path / "plan", root, *axes)
    assert counted(progress.of_plan(folder)) == {"missing": 12}

    said = submit(run, folder)
    assert "selection of runs 0-10" in said
    assert "selection of runs 11" in said  # MaxArraySize is 11
    assert "training of runs 0-10 after it" in said
    assert set(counted(progress.of_plan(folder))) <= {"queued", "running"}
    assert "nothing to submit" in submit(run, folder)  # what is queued is not queued twice

    # A job is requeued (as preemption does) while it works, and another one killed.
    states = until(folder, running_in("train"))
    requeued = next(state for state in states if state.stage == "train")
    job = re.match(r"job (\d+_\d+)", requeued.where).group(1)
    assert run("scontrol", "requeue", job).returncode == 0
    until(folder, lambda states: states[int(requeued.name)].state in ("queued", "done"))
    run(
        "scontrol", "update", f"JobId={job}", "StartTime=now"
    )  # SLURM waits two minutes before it starts again

    states = until(folder, running_in("train"))
    victim = next(state for state in states if state.stage == "train")
    told = json.loads((Path(victim.folder) / "run_lock.json").read_text())
    os.kill(told["pid"], signal.SIGKILL)
    states = until(folder, at_rest)
    assert counted(states) == {"done": 11, "killed": 1}
    assert states[int(victim.name)].state == "killed"
    assert "during train" in states[int(victim.name)].reason

    assert f"training of runs {int(victim.name)}, selected already" in submit(run, folder)
    assert counted(until(folder, at_rest)) == {"done": 12}
    assert "nothing to submit" in submit(run, folder)
    # Each shared stage was made once, whoever came first: a base and scores a seed, one ranking a selector and seed.
    stages = made(folder)
    assert {name: stages[name] for name in ("base", "score", "embed", "rank")} == {
        "base": 2,
        "score": 2,
        "embed": 2,
        "rank": 8,  # one a selector and seed, and that of the untuned model, of either seed
    }
    # On the group of scores lie the judge's table and mp_sc's own, for either seed.
    for group, count in {"base": 2, "score": 4, "embed": 2, "rank": 8, "select": 14, "train": 12}.items():
        assert len([path for path in (root / "store" / group).iterdir() if path.is_dir()]) == count, group
    shown = run(sys.executable, "-m", "gip_exp.status", folder)
    assert "12 runs: 12 done" in shown.stdout


def test_a_run_that_fails_for_good_says_why_and_holds_up_no_other(run, tmp_path):
    axes = ["selector=ranking", f"selector.path={rankings(tmp_path)}", "until=select"]
    folder = plan(run, tmp_path / "plan", tmp_path / "outputs", *axes)
    submit(run, folder)
    for _ in range(2):  # the second time only the failed run is tried again
        states = until(folder, at_rest)
        assert [state.state for state in states] == ["done", "failed"]
        assert states[1].label.endswith("bad.jsonl")
        assert "'nobody' is not a known id of the pool" in states[1].reason
        assert "selection of runs 1:" in submit(run, folder)
    until(folder, at_rest)


def test_a_job_out_of_time_shows_as_such_and_is_tried_again(run, tmp_path, monkeypatch):
    folder = plan(
        run, tmp_path / "plan", tmp_path / "outputs", "selector=random", "model.scratch.steps=100000"
    )
    submit(run, folder)
    until(folder, running_in("base"))
    job = job_arrays.read(folder)[-1].job
    assert run("scontrol", "update", f"JobId={job}_0", "TimeLimit=0:01").returncode == 0
    (state,) = until(folder, at_rest)
    assert (state.state, state.reason) in {
        ("stopped", "by SIGTERM (out of time: raise the time limit)"),
        ("stopped", "by SIGTERM (TimeLimit)"),
    }
    assert (
        "training of runs 0, selected already"
        in run(ROOT / "slurm" / "submit.sh", folder, "--dry-run").stdout
    )


def test_the_command_on_the_page_for_a_selection_on_several_nodes_selects(run, tmp_path):
    folder = plan(run, tmp_path / "plan", tmp_path / "outputs", "selector=random")
    page = (ROOT / "slurm" / "README.md").read_text()
    (line,) = re.findall(r"^sbatch .*plans/large.*$", page, re.MULTILINE)
    words = shlex.split(line.replace("$(which python)", sys.executable).replace("plans/large", str(folder)))
    smaller = [word for word in words[1:] if not word.startswith(("--nodes", "--gpus-per-node"))]
    assert run("sbatch", "--nodes=1", "--cpus-per-task=1", *smaller).returncode == 0
    assert counted(until(folder, lambda states: states[0].state == "selected")) == {"selected": 1}


def launch(run, root: Path, *axes: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gip_exp", "-m", *MICRO, f"paths.root={root}", *axes]
    return run(*command, "hydra/launcher=slurm")


def test_the_launcher_runs_a_sweep_and_names_the_run_that_failed(run, tmp_path):
    root = tmp_path / "outputs"
    good, bad = rankings(tmp_path).split(",")
    axes = ["selector=ranking", f"selector.path={good},{bad}", "until=select"]
    done = launch(run, root, *axes)
    assert done.returncode == 2
    assert "2 runs: 1 done, 1 failed" in done.stdout
    assert "'nobody' is not a known id of the pool" in done.stdout
    assert "Traceback" not in done.stderr
    assert counted(progress.of_runs(root)) == {"selected": 1, "failed": 1}
    # The failed run is tried again; a sweep that is done leaves its runs and outputs only.
    assert launch(run, root, *axes).returncode == 2
    (plan_of_sweep,) = (root / "sweeps").iterdir()
    assert len(list(plan_of_sweep.glob("logs/select-*"))) == 1
    done = launch(run, root, "selector=ranking", f"selector.path={good}", "until=select")
    assert (done.returncode, "1 runs: 1 done" in done.stdout) == (0, True)
    assert list((root / "sweeps").iterdir()) == [plan_of_sweep]


def test_what_sbatch_refuses_the_launcher_says_and_leaves_nothing(run, tmp_path, monkeypatch):
    monkeypatch.setenv("GIP_PARTITION", "nope")
    done = launch(run, tmp_path / "outputs", "until=select", "seed=0,1")
    assert done.returncode == 2
    assert (
        "selection of runs 0-1 was refused: sbatch: error: invalid partition specified: nope" in done.stderr
    )
    assert "GIP_CPU_PARTITION" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == [
        "store"
    ]  # the rows, which planning reads


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"GIP_PARTITION": "nope"}, ["error: invalid partition specified: nope", "GIP_CPU_PARTITION"]),
        ({"GIP_PARTITION": "short", "GIP_MINUTES": "61"}, ["Requested time limit is invalid", "set GIP_MINUTES"]),
        ({"GIP_CPU_ARGS": "--mem=99G"}, ["More processors requested than permitted", "GIP_MEM_GB"]),
        ({"GIP_CPU_ARGS": "--cpus-per-task=99"}, ["More processors requested than permitted", "GIP_CPUS"]),
        ({"GIP_CONSTRAINT": "nope"}, ["Invalid feature specification", "GIP_CONSTRAINT"]),
        ({"GIP_CPU_ARGS": "--frobnicate"}, ["unrecognized option '--frobnicate'", "sbatch --help"]),
    ],
)  # fmt: skip
def test_what_the_real_sbatch_refuses_of_the_selection(run, tmp_path, monkeypatch, variables, told):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    folder = plan(run, tmp_path / "plan", tmp_path / "outputs", "selector=random")
    done = run(sys.executable, "-m", "gip_exp", "submit", folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: selection of runs 0 was refused: sbatch: " in done.stderr
    assert [part for part in told if part not in done.stderr] == []
    assert counted(progress.of_plan(folder)) == {"missing": 1}


def test_gpus_that_the_real_cluster_lacks_are_refused_and_the_selection_waits_for_their_repair(
    run, tmp_path, monkeypatch
):
    monkeypatch.setenv("GIP_GPUS", "a100:2")
    folder = plan(run, tmp_path / "plan", tmp_path / "outputs", "selector=random", "seed=0,1")
    done = run(sys.executable, "-m", "gip_exp", "submit", folder)
    assert done.returncode == 2
    assert "selection of runs 0-1: job " in done.stdout
    assert "training of runs 0-1 after it was refused: sbatch: error: " in done.stderr
    assert "Invalid generic resource (gres) specification" in done.stderr
    assert "GIP_GPUS" in done.stderr
    monkeypatch.setenv("GIP_GPUS", "0")
    assert "training of runs 0-1" in submit(run, folder)
    assert counted(until(folder, at_rest)) == {"done": 2}
