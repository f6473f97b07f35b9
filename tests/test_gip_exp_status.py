"""`gip_exp.status`: every state a run can be in, from its files, its lock and SLURM's word; bad input is a message."""

import json
import os

import pytest
from report_runs import write_run
from test_gip_exp_runs_lock import at_work, fake

from gip_exp import status
from gip_exp.errors import UserError
from gip_exp.runs import lock, slurm
from gip_exp.sweep import plan_folder
from gip_exp.sweep import state as progress
from gip_exp.sweep.plan_folder import PlannedRun


@pytest.fixture(autouse=True)
def no_slurm(tmp_path_factory, monkeypatch):
    """A folder in front of the PATH whose squeue knows no job; tests that want jobs write their own."""
    folder = tmp_path_factory.mktemp("bin")
    for name in ("squeue", "sacct", "scontrol"):
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


def test_a_submitted_run_is_queued_and_one_that_never_began_says_what_slurm_says(tmp_path, no_slurm):
    plan = make_plan(tmp_path)
    (plan / "jobs.txt").write_text("12\n13\n")
    fake(no_slurm, "squeue", "12|0|PENDING|Resources")
    assert the_state(plan) == ("queued", "Resources")
    fake(no_slurm, "squeue", "12|0|FAILED|NonZeroExitCode")
    state, reason = the_state(plan)
    assert state == "killed"
    assert "FAILED, before it began: see logs/" in reason
    fake(no_slurm, "squeue", "12|0|CANCELLED|None")
    assert the_state(plan) == ("stopped", "cancelled, before it began: see logs/")


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


def test_what_is_left_is_listed_as_sbatch_takes_it_by_what_it_needs(tmp_path, capsys):
    plan = make_plan(tmp_path, count=6)
    write_run(tmp_path / "runs", name="run1")
    write_run(tmp_path / "runs", name="run4", status="stopped:select")
    tell(plan, 5, ended=2.0, error="UserError: broken")
    with lock.run_lock(plan / "states", "003", print):
        assert progress.to_submit(plan) == {"cpu": [0, 2, 5], "gpu": [], "train": [4]}
        status.main([str(plan), "--todo", "cpu"])
    assert capsys.readouterr().out == "0,2,5\n"
    status.main([str(plan), "--todo", "cpu"])
    assert capsys.readouterr().out == "0,2-3,5\n"
    assert progress.to_submit(make_plan(tmp_path / "gpu", selects_on="gpu")) == {
        "cpu": [],
        "gpu": [0],
        "train": [],
    }


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
