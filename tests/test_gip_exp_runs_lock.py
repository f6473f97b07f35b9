"""Who is at work on a run: told by a lock that dies with its process, never by a file that it may leave behind."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from conftest import ROOT

from gip_exp.errors import UserError
from gip_exp.runs import lock, slurm

HOLD = """
import sys, time
from pathlib import Path
from gip_exp.runs.lock import run_lock, stoppable
with stoppable(), run_lock(Path(sys.argv[1]), sys.argv[2], print) as mine:
    mine.update(stage="train")
    print("at work", flush=True)
    time.sleep(60)
"""


@contextmanager
def at_work(folder, name):
    """A process at work on `folder`/`name`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder, name], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "at work\n"
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def holder(tmp_path):
    """A process at work on `tmp_path`/run."""
    with at_work(tmp_path, "run") as process:
        yield process


def test_a_process_at_work_holds_the_lock_and_says_who_it_is(tmp_path, holder):
    assert lock.alive(tmp_path, "run")
    told = lock.read(tmp_path, "run")
    assert (told["pid"], told["host"], told["stage"]) == (holder.pid, os.uname().nodename, "train")


def test_a_killed_process_holds_nothing_whatever_its_file_says(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not lock.alive(tmp_path, "run")
    assert "ended" not in lock.read(tmp_path, "run")  # nobody was left to say so


def test_sigterm_lets_the_lock_go_and_leaves_a_word(tmp_path, holder):
    holder.terminate()
    holder.wait(timeout=30)
    assert not lock.alive(tmp_path, "run")
    told = lock.read(tmp_path, "run")
    assert told["stopped"] == "Stopped"
    assert told["ended"] >= told["started"]


def test_the_word_is_there_before_slurm_is_asked_for_its_reason(tmp_path, monkeypatch):
    told = []

    def asked(_):
        told.append(lock.read(tmp_path, "run"))
        return "TimeLimit"

    monkeypatch.setattr(slurm, "why_stopped", asked)
    with pytest.raises(lock.Stopped), lock.run_lock(tmp_path, "run", print):
        raise lock.Stopped
    assert told[0]["stopped"] == "Stopped"
    assert lock.read(tmp_path, "run")["slurm_reason"] == "TimeLimit"


def test_a_second_process_waits_until_the_first_is_gone(tmp_path, holder):
    said = []

    def kill_first(text):
        said.append(text)
        holder.kill()

    with lock.run_lock(tmp_path, "run", kill_first):
        assert lock.read(tmp_path, "run")["pid"] == os.getpid()
    assert "another process is working on" in said[0]


def test_what_ends_well_leaves_no_word_and_an_error_leaves_its_reason(tmp_path):
    with lock.run_lock(tmp_path, "run", print):
        assert lock.alive(tmp_path, "run")
    assert lock.read(tmp_path, "run") == {}
    with pytest.raises(UserError), lock.run_lock(tmp_path, "run", print):
        raise UserError("the encoder is out of order")
    assert lock.read(tmp_path, "run")["error"] == "UserError: the encoder is out of order"
    assert not lock.alive(tmp_path, "run")


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_half_written_word_counts_as_none(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    assert lock.read(tmp_path, "run") == {}


def test_a_signal_handler_of_somebody_else_is_left_in_place():
    mine = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        ours = signal.getsignal(signal.SIGTERM)
        with lock.stoppable():
            assert signal.getsignal(signal.SIGTERM) is ours
    finally:
        signal.signal(signal.SIGTERM, mine)


def test_a_job_knows_its_name_as_slurm_prints_it():
    array = {"SLURM_JOB_ID": "14", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"}
    assert slurm.own_job(array) == {"slurm_job": "12_3", "slurm_restarts": "0"}
    assert slurm.own_job({"SLURM_JOB_ID": "14", "SLURM_RESTART_COUNT": "2"}) == {
        "slurm_job": "14",
        "slurm_restarts": "2",
    }
    assert slurm.own_job({}) == {}


def fake(folder, name, text, code=0):
    """A command of SLURM's that prints `text`."""
    path = folder / name
    path.write_text(f"#!/bin/sh\ncat <<'EOF'\n{text}\nEOF\nexit {code}\n")
    path.chmod(0o755)


def test_jobs_are_read_from_squeue_and_where_it_forgot_them_from_accounting(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    fake(
        tmp_path,
        "squeue",
        "12|3|RUNNING|None\n12|4|PENDING|Dependency\n13|N/A|TIMEOUT|TimeLimit\n14|N/A|COMPLETING|TimeLimit",
    )
    found = slurm.jobs(["12_3", "12_4", "13", "14"])
    assert found["12_3"].running
    assert found["12_4"].waiting
    assert slurm.why_ended(found["13"]) == slurm.why_ended(found["14"]) == "out of time: raise the time limit"
    fake(tmp_path, "squeue", "")
    fake(tmp_path, "sacct", "12_3|CANCELLED by 1000\n12_4|OUT_OF_MEMORY")
    found = slurm.jobs(["12_3", "12_4"])
    assert slurm.why_ended(found["12_3"]) == "cancelled"
    assert slurm.why_ended(found["12_4"]) == "out of memory: ask for more"


def test_without_slurm_no_job_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(slurm.NoAnswerError, match="squeue is not installed"):
        slurm.jobs(["12_3"])
    assert slurm.jobs([]) == {}
    assert slurm.why_stopped("12_3") == ""


def test_a_job_whose_dependency_can_never_be_met_does_not_count_as_queued():
    assert not slurm.Job("PENDING", slurm.NEVER).waiting


def test_the_file_is_json_that_people_can_read(tmp_path):
    with lock.run_lock(tmp_path, "run", print):
        assert set(json.loads((tmp_path / "run.json").read_text())) >= {"host", "pid", "started"}
