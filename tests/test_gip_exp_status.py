"""`gip_exp.status`: every state a run can be in, from its files, its lock and SLURM's word; bad input is a message."""

import io
import itertools
import json
import os
import threading
import time

import pytest
from report_runs import write_run
from rich.cells import cell_len
from test_gip_exp_runs_lock import at_work, fake

from gip_exp import status
from gip_exp.console import Console
from gip_exp.errors import UserError
from gip_exp.runs import lock, slurm
from gip_exp.sweep import job_arrays, plan_folder
from gip_exp.sweep import state as progress
from gip_exp.sweep.plan_folder import PlannedRun


@pytest.fixture(autouse=True)
def no_slurm(tmp_path_factory, monkeypatch):
    """A folder in front of the PATH whose squeue knows no job; tests that want jobs write their own."""
    folder = tmp_path_factory.mktemp("bin")
    fake(folder, "squeue", "")
    for name in ("sacct", "scontrol"):
        fake(folder, name, "unknown", code=1)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def make_plan(tmp_path, count=1, ends="done", selects_on="cpu"):
    """A plan of `count` runs whose runs lie below tmp_path/runs/toy."""
    runs = [
        PlannedRun(i, f"mp_ma_b0.1_s{i} tiny", str(tmp_path / "runs" / "toy" / f"run{i}"), ends, selects_on)
        for i in range(count)
    ]
    plan_folder.write(tmp_path / "plan", ["+experiment=quickstart"], runs, ["seed: 0\n"] * count)
    return tmp_path / "plan"


def tell(plan, number, **facts):
    text = json.dumps({"host": "node1", "pid": 7, "started": 1.0, **facts})
    (plan / "states" / f"{number:03d}.json").write_text(text)


def the_state(plan):
    (state,) = progress.of_plan(plan)
    return state.state, state.reason


def test_a_planned_run_without_a_run_is_missing(tmp_path):
    assert the_state(make_plan(tmp_path)) == ("missing", "")


def test_a_finished_run_is_done_whatever_its_last_process_said(tmp_path):
    plan = make_plan(tmp_path)
    write_run(tmp_path / "runs", name="run0")
    tell(plan, 0, ended=2.0, error="UserError: later")
    assert the_state(plan) == ("done", "")


def test_a_run_whose_config_stops_at_a_stage_is_done_there_and_another_is_selected(tmp_path):
    plan = make_plan(tmp_path, ends="stopped:select")
    write_run(tmp_path / "runs", name="run0", status="stopped:select")
    assert the_state(plan) == ("done", "")
    other = make_plan(tmp_path / "other")
    write_run(tmp_path / "other" / "runs", name="run0", status="stopped:select")
    assert the_state(other) == ("selected", "")


def test_a_run_that_somebody_holds_is_running_with_its_stage(tmp_path):
    plan = make_plan(tmp_path)
    run = tmp_path / "runs" / "toy" / "run0"
    run.mkdir(parents=True)
    with lock.run_lock(plan / "states", "000", print), lock.run_lock(run, "run_lock", print) as mine:
        mine.update(stage="train")
        (state,) = progress.of_plan(plan)
        assert (state.state, state.stage) == ("running", "train")
        assert str(os.getpid()) in state.where


def test_a_process_that_only_begins_is_not_shown_with_an_earlier_ones_words(tmp_path):
    plan = make_plan(tmp_path)
    run = tmp_path / "runs" / "toy" / "run0"
    run.mkdir(parents=True)
    (run / "run_lock.json").write_text(
        json.dumps({"host": "lost", "pid": 1, "started": 1.0, "stage": "train"})
    )
    with lock.run_lock(plan / "states", "000", print):
        (state,) = progress.of_plan(plan)
    assert (state.state, state.stage) == ("running", "")
    assert "lost" not in state.where


def test_a_running_marker_without_a_lock_is_a_killed_process(tmp_path):
    plan = make_plan(tmp_path)
    tell(plan, 0, stage="train")
    state, reason = the_state(plan)
    assert state == "killed"
    assert "its process ended without a record" in reason
    assert "during train" in reason


def test_a_process_that_ends_while_slurm_is_asked_is_believed(tmp_path, monkeypatch):
    plan = make_plan(tmp_path)
    with at_work(plan / "states", "000") as process:

        def asked(_):
            process.terminate()
            process.wait(timeout=30)
            return {}

        monkeypatch.setattr(slurm, "jobs", asked)
        assert the_state(plan) == ("stopped", "by SIGTERM")


@pytest.mark.parametrize(
    ("word", "state", "part"),
    [
        ("OUT_OF_MEMORY|None", "killed", "out of memory"),
        ("TIMEOUT|TimeLimit", "killed", "out of time"),
        ("PENDING|BeginTime", "queued", "BeginTime"),
        ("PENDING|launch failed requeued held", "queued", "scontrol release JOB"),
        ("PENDING|PartitionTimeLimit", "queued", "will not start, its time limit is above the partition's"),
        ("RUNNING|None", "running", ""),
    ],
)
def test_slurm_says_what_became_of_a_silent_process(tmp_path, no_slurm, word, state, part):
    plan = make_plan(tmp_path)
    tell(plan, 0, slurm_job="12_0")
    fake(no_slurm, "squeue", f"12|0|{word}")
    found, reason = the_state(plan)
    assert found == state
    assert part in reason


def arrays(plan, *phases):
    """Arrays 12, 13, ... of these phases, each with all runs of the plan."""
    runs = tuple(run.number for run in plan_folder.read(plan))
    for i, phase in enumerate(phases):
        array = job_arrays.JobArray(f"gip-{i}", phase, 0, runs)
        job_arrays.record(plan, array)
        job_arrays.record_answer(plan, array, job=str(12 + i))


def test_a_submitted_run_is_queued_and_one_that_never_began_says_what_slurm_says(tmp_path, no_slurm):
    plan = make_plan(tmp_path)
    arrays(plan, "train")
    fake(no_slurm, "squeue", "12|0|PENDING|Resources")
    assert the_state(plan) == ("queued", "Resources")
    fake(no_slurm, "squeue", "12|0|CANCELLED|None")
    assert the_state(plan) == ("stopped", "cancelled, before its training began")  # no output to look at
    fake(no_slurm, "squeue", "12|0|FAILED|NonZeroExitCode")
    (plan / "logs" / "train-12_0.out").touch()
    why = "before its training began: see logs/train-12_0.out"
    assert the_state(plan) == ("killed", f"SLURM says FAILED, {why}")
    fake(no_slurm, "squeue", "12|0|CANCELLED|None")
    assert the_state(plan) == ("stopped", f"cancelled, {why}")


def test_an_array_that_is_cancelled_as_a_whole_stops_its_runs(tmp_path, no_slurm):
    """SLURM keeps one record for it, without tasks."""
    plan = make_plan(tmp_path)
    arrays(plan, "select", "train")
    fake(no_slurm, "squeue", "12|N/A|CANCELLED|PartitionDown\n13|0|CANCELLED|Dependency")
    assert the_state(plan) == ("stopped", "cancelled, before its selection began")
    fake(no_slurm, "squeue", "")
    fake(no_slurm, "sacct", "12_[0-3]|CANCELLED by 0\n13_0|CANCELLED by 0")
    assert the_state(plan)[0] == "stopped"


@pytest.mark.parametrize(
    "words",
    [
        "12|0|FAILED|NonZeroExitCode\n13|0|CANCELLED|DependencyNeverSatisfied",
        "12|0|FAILED|NonZeroExitCode\n13|0|CANCELLED|Dependency",
        "12|0|FAILED|NonZeroExitCode\n13|0|PENDING|DependencyNeverSatisfied",
        "",  # forgotten, without accounting
    ],
)
def test_a_selection_that_failed_on_import_is_the_cause(tmp_path, no_slurm, words):
    plan = make_plan(tmp_path)
    arrays(plan, "select", "train")
    (plan / "logs" / "select-12_0.out").write_text(
        "Traceback (most recent call last):\nModuleNotFoundError: No module named 'torch'\n"
    )
    fake(no_slurm, "squeue", words)
    state, reason = the_state(plan)
    assert state == "killed"
    assert reason.endswith(
        "before its selection began: ModuleNotFoundError: No module named 'torch' (logs/select-12_0.out)"
    )
    # A later job with a record has the last word, and so has one that is queued.
    tell(plan, 0, slurm_job="12_0", ended=2.0, error="UserError: no data")
    assert the_state(plan) == ("failed", "no data")
    arrays(plan, "select", "train", "select")
    fake(no_slurm, "squeue", f"{words}\n14|0|PENDING|Priority")
    assert the_state(plan) == ("queued", "Priority")


def test_a_selected_run_whose_training_was_never_queued_is_selected_after_slurm_forgot_the_job(tmp_path):
    plan = make_plan(tmp_path)
    arrays(plan, "select")
    (plan / "logs" / "select-12_0.out").write_text("  select: 0.1 s\n")
    folder = write_run(tmp_path / "runs", name="run0", status="stopped:select")
    (folder / "config.yaml").touch()
    assert the_state(plan) == ("selected", "")


def test_while_slurm_is_silent_submitted_runs_are_unknown_and_finished_ones_are_not(tmp_path, no_slurm):
    plan = make_plan(tmp_path, count=4)
    arrays(plan, "select", "train")
    write_run(tmp_path / "runs", name="run0")
    tell(plan, 2, slurm_job="12_2", ended=2.0, error="UserError: no data")
    tell(plan, 3, slurm_job="12_3", ended=2.0, stopped="Stopped")  # may have been queued again
    fake(no_slurm, "squeue", "connect failure", code=1)
    states = progress.of_plan(plan)
    assert [state.state for state in states] == ["done", "unknown", "failed", "unknown"]
    assert "SLURM does not answer: squeue" in states[1].reason


def test_failed_and_stopped_runs_say_why(tmp_path):
    plan = make_plan(tmp_path)
    tell(plan, 0, ended=2.0, error="UserError: no data: give data.path")
    assert the_state(plan) == ("failed", "no data: give data.path")
    tell(plan, 0, ended=2.0, stopped="Stopped", slurm_reason="TimeLimit")
    assert the_state(plan) == ("stopped", "by SIGTERM (TimeLimit)")
    tell(plan, 0, ended=2.0, error="UserError: waiting for batch, 3 of 5 done (...)")
    assert the_state(plan) == ("waiting", "waiting for batch, 3 of 5 done (...)")
    tell(plan, 0, ended=2.0, stopped="KeyboardInterrupt")
    assert the_state(plan) == ("stopped", "by Ctrl-C")


def test_a_half_written_result_is_failed_and_says_what_to_do(tmp_path):
    plan = make_plan(tmp_path)
    run = write_run(tmp_path / "runs", name="run0")
    (run / "result.json").write_text('{"status": "do')
    assert the_state(plan) == ("failed", "result.json is damaged or incomplete: run it again")


def test_runs_without_a_plan_are_shown_by_folder(tmp_path):
    write_run(tmp_path / "runs", name="a")
    write_run(tmp_path / "runs", name="b", status="failed", error="UserError: lost")
    killed = write_run(tmp_path / "runs", name="c")
    (killed / "result.json").unlink()
    states = {state.label: (state.state, state.reason) for state in progress.of_runs(tmp_path)}
    assert states["runs/toy/a"] == ("done", "")
    assert states["runs/toy/b"] == ("failed", "UserError: lost")
    assert states["runs/toy/c"] == ("killed", "its process left neither a result nor a record")


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda folder: (folder / "empty").mkdir(), "there are no runs below"),
        (lambda folder: folder.rmdir(), "is not a folder"),
        (lambda folder: (folder / "plan.json").write_text('{"runs": [{"number'), "is damaged or not a plan"),
        (lambda folder: (folder / "plan.json").write_text('{"runs": [{}]}'), "is damaged or not a plan"),
    ],
)
def test_a_folder_with_nothing_to_show_is_a_message_and_exit_code_2(tmp_path, capsys, make, part):
    folder = tmp_path / "there"
    folder.mkdir()
    make(folder)
    assert status.main([str(folder)]) == 2
    assert part in capsys.readouterr().err


def test_the_table_counts_every_state_and_names_offline_wandb_runs(tmp_path, capsys):
    plan = make_plan(tmp_path, count=3)
    run = write_run(tmp_path / "runs", name="run0")
    offline = run / "wandb" / "offline-run-1"
    offline.mkdir(parents=True)
    assert status.main([str(plan)]) == 0
    shown = capsys.readouterr().out
    assert "3 runs: 1 done, 2 missing" in shown
    assert "1 offline W&B runs are not uploaded" in shown
    assert f"wandb sync {offline}" in shown.replace("\n", "")
    (offline / "run-1.wandb.synced").touch()
    status.main([str(plan)])
    assert "W&B" not in capsys.readouterr().out


def test_the_json_form_has_every_field(tmp_path, capsys):
    assert status.main([str(make_plan(tmp_path)), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["state"]) == ("000", "missing")


def test_another_plan_is_never_written_over(tmp_path):
    plan = make_plan(tmp_path)
    runs = plan_folder.read(plan)
    assert not plan_folder.write(plan, ["again"], runs, ["seed: 0\n"])
    with pytest.raises(UserError, match="holds another plan"):
        plan_folder.write(plan, ["again"], runs, ["seed: 1\n"])
    assert (plan / "runs" / "000.yaml").read_text() == "seed: 0\n"


def test_a_running_run_shows_its_step_and_its_start_in_the_readers_zone(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        plan = make_plan(tmp_path)
        run = tmp_path / "runs" / "toy" / "run0"
        run.mkdir(parents=True)
        console = Console(io.StringIO(), clock=itertools.count(0, 4).__next__)
        seen = threading.Event()
        with lock.run_lock(plan / "states", "000", print), lock.run_lock(run, "run_lock", print) as mine:
            mine.update(stage="train", started=1_790_000_000.0)

            def report(text):
                mine.update(progress=text)
                if "100 of 400" in text:
                    seen.set()

            with console.followed(report, every_s=0.01), console.bar("fine-tuning", 400) as bar:
                bar.update(0)
                bar.update(100, note="loss 0.532")
                assert seen.wait(60)
            assert status.main([str(plan)]) == 0
    finally:
        monkeypatch.undo()
        time.tzset()
    shown = capsys.readouterr().out
    assert "Sep 21 23:13:20 JST" in shown
    assert "fine-tuning: 100 of 400, loss 0.532, about" in shown


def test_at_80_columns_names_are_whole_and_reasons_are_cut_to_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    names = ["a", "mp_ma_sc_b0.05_s0-9b2eba49", "漢字_b0.05_s0-9b2eba49", "mp_self_consistency" * 5]
    for name in names:
        write_run(tmp_path / "runs", name=name)
    why = (
        "data.path=alpaca.jsonl: no column holds completions;\ngive data.columns.completion=NAME, one of: "
        + "x" * 60
    )
    write_run(tmp_path / "runs", name="lost", status="failed", error=why)
    running = tmp_path / "runs" / "own_data" / "held"
    running.mkdir(parents=True)
    (running / "config.yaml").touch()
    with lock.run_lock(running, "run_lock", print) as mine:
        mine.update(stage="score/self_consistency", progress="rows: 5 of 10")
        assert status.main([str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(cell_len(line) <= 80 for line in lines)
    assert all(f"runs/toy/{name}" in "".join(lines) for name in names)
    (at,) = [i for i, line in enumerate(lines) if "runs/toy/lost" in line]
    assert lines[at].split() == ["runs/toy/lost", "failed"]
    assert lines[at + 1].startswith("    data.path=alpaca.jsonl: no column holds completions; give data.")
    assert lines[at + 1].endswith("…")
    assert "--json shows what is cut" in lines
    (at,) = [i for i, line in enumerate(lines) if "runs/own_data/held" in line]
    assert lines[at].split()[1] == "running"
    assert lines[at + 1] == "    rows: 5 of 10"
    assert lines[at + 2].startswith("    score/self_consistency · ")
    states = [line.split()[-1] for line in lines if line.endswith((" done", " failed", " running"))]
    columns = {
        cell_len(line.rpartition(" ")[0]) for line in lines if line.endswith((" done", " failed", " running"))
    }
    assert (len(states), len(columns)) == (6, 1)  # one below the other
