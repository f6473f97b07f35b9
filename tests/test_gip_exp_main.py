"""The command line as people use it: help, errors, sweeps, W&B."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import MICRO, ROOT

SWEEP = [*MICRO, "until=select"]


def run(*arguments, root=None, **environment):
    root_given = [f"paths.root={root}"] if root and not any("paths.root" in a for a in arguments) else []
    command = [sys.executable, "-m", "gip_exp", *arguments, *root_given]
    env = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB", "OPENAI"))}
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**env, **environment}, timeout=300
    )


def results(root: Path):
    return {
        path.parent.name.rsplit("-", 1)[0]: json.loads(path.read_text()) for path in root.rglob("result.json")
    }


def test_help_lists_the_choices_without_importing_heavy_libraries():
    code = (
        "import sys; sys.argv = ['gip_exp', '--help']\n"
        "from gip_exp.cli.main import main\n"
        "main()\n"
        "heavy = {'torch', 'transformers', 'sklearn', 'wandb', 'pandas', 'lm_eval'} & set(sys.modules)\n"
        "print('heavy:', heavy)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "experiment: " in done.stdout
    assert "quickstart" in done.stdout
    assert "heavy: set()" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["selector=magic"], "Could not find 'selector/magic'"),
        (["selector=mpsc"], "top_score; did you mean mp_sc?"),
        (["+experiment=nothing"], "Could not find 'experiment/nothing'"),
        (["+experiment=quickstart", "experiment=mine"], "paths.root=FOLDER keeps runs apart"),
        (["budgett=1"], "Could not override 'budgett'"),
        (["+experiment=quickstart", "budget=1.2"], "budget=1.2 is not a share"),
        (["+experiment=gsm8k_cpu", "data.path=/no/such"], "data.path=/no/such does not exist"),
        (["+experiment=own_data"], "no data: give data.path=FILE_OR_FOLDER"),
        (["budget=[1"], "cannot read the argument 'budget=[1'"),
        (["engine.server_args=[--a=0.3,--b]"], """e.g. 'engine.server_args=["--a=0.3","--b"]'"""),
        (["+experiment=quickstart", "target=null"], "Config group override must be a string"),
        (
            ["-m", "+experiment=quickstart", "seed=0,1", "paths.root=/etc/passwd/x"],
            "paths.root=/etc/passwd/x cannot be written",
        ),
    ],
)
def test_what_a_user_can_mend_is_one_message_and_exit_code_2(tmp_path, arguments, part):
    done = run(*arguments, root=tmp_path / "out")
    assert done.returncode == 2
    assert part in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not (tmp_path / "out").exists()


def test_no_words_at_all_are_answered_with_the_first_words_to_say():
    done = subprocess.run(
        [sys.executable, "-m", "gip_exp"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "choose an experiment, e.g. +experiment=quickstart; --help" in done.stderr


def test_a_broken_row_is_named_with_its_line(tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"question": "q", "answer": "a"}\n{"question": "q"}\n')
    done = run("+experiment=own_data", f"data.path={tmp_path}/mine.jsonl", root=tmp_path / "out")
    assert done.returncode == 2
    assert "mine.jsonl: line 2: column 'answer' is missing" in done.stderr
    assert not (tmp_path / "out" / "runs").exists()


def test_a_failed_run_ends_no_other_and_makes_the_exit_code_2(tmp_path):
    done = run("-m", *SWEEP, "selector=random,full", "budget=9999,0.1", root=tmp_path)
    assert done.returncode == 2
    assert "budget=9999 exceeds the pool" in done.stderr
    assert "Traceback" not in done.stderr
    statuses = {name: result["status"] for name, result in results(tmp_path).items()}
    assert statuses == {"random_b0.1_s0": "stopped:select", "full_b1.0_s0": "stopped:select"}


def test_hydra_leaves_nothing_outside_the_root(tmp_path):
    before = set(ROOT.iterdir())
    run("-m", *SWEEP, "selector=random", "seed=0,1", root=tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"store", "runs"}
    assert {path for path in ROOT.iterdir() if path.name not in ("__pycache__", ".mypy_cache")} <= before


def test_each_run_of_a_sweep_finishes_its_own_offline_wandb_run(tmp_path):
    done = run("-m", *SWEEP, "selector=random", "seed=0,1", "tracking=wandb", root=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "W&B: offline" in done.stderr
    folders = sorted(tmp_path.glob("runs/*/*"))
    assert len(folders) == 2
    for folder in folders:
        logs = list(folder.glob("wandb/offline-run-*/run-*.wandb"))
        assert len(logs) == 1
        assert logs[0].name == f"run-{folder.name.rsplit('-', 1)[-1]}.wandb"
        assert finished(logs[0])


def records(log: Path):
    """The records of a W&B transaction log: a 7-byte file header, then LevelDB's log format."""
    from wandb.proto import wandb_internal_pb2

    data, at, block, whole = log.read_bytes(), 7, 32768, b""
    while at + 7 <= len(data):
        if block - at % block < 7:  # a block's last bytes are padding where no header fits
            at += block - at % block
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a full record, or the last piece of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def finished(log: Path) -> bool:
    """Whether the log holds the run, its summary, the selection as an artifact, and a clean exit."""
    found = list(records(log))
    kinds = {record.WhichOneof("record_type") for record in found}
    text = "".join(str(record.summary) + str(record.history) for record in found)
    exits = [record.exit.exit_code for record in found if record.WhichOneof("record_type") == "exit"]
    return (
        {"run", "exit"} <= kinds and exits == [0] and "seconds/select" in text and "selected-" in str(found)
    )


def test_the_second_run_says_that_nothing_was_computed_again(tmp_path):
    run(*SWEEP, root=tmp_path)
    assert "all stages were reused; nothing was computed" in run(*SWEEP, root=tmp_path).stderr


def test_a_home_folder_is_understood_in_any_path(monkeypatch):
    from gip_exp.cli.main import with_home

    monkeypatch.setenv("HOME", "/home/me")
    said = ["data.path=~/rows.jsonl", "~data", "data.path=a~/b", "-m"]
    assert [with_home(one) for one in said] == ["data.path=/home/me/rows.jsonl", *said[1:]]


def test_wandb_has_texts_tags_and_losses_and_a_repeated_run_adds_nothing(tmp_path):
    """The adapter is trained by a run that is not tracked, so the tracked one reuses it and still has its losses."""
    trained = [*MICRO, "until=train"]
    assert run(*trained, root=tmp_path).returncode == 0
    for _ in range(2):
        done = run(*trained, "tracking=wandb", root=tmp_path)
        assert done.returncode == 0, done.stderr
    assert "so nothing is logged again" in done.stderr
    (log,) = tmp_path.glob("runs/*/*/wandb/offline-run-*/run-*.wandb")
    found = list(records(log))
    history = [{item.key or "/".join(item.nested_key) for item in record.history.item} for record in found]
    assert sum("train/loss" in keys for keys in history) == 4
    (made,) = [record.run for record in found if record.WhichOneof("record_type") == "run"][:1]
    assert {"selector=mp_ma", "seed=0", "model=tiny_arithmetic"} <= set(made.tags)
    text = str(found)
    assert "subset/coverage/subset" in text
    (table,) = tmp_path.glob("runs/*/*/wandb/offline-run-*/files/media/table/selected*.table.json")
    assert json.loads(table.read_text())["columns"] == ["rank", "id", "gain", "prompt", "completion"]
