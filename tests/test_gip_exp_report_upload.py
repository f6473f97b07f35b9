"""The report in W&B, read back from the offline run it leaves: its group, its tables and figures, one run however often."""

import random
import time

import pytest
from report_runs import GSM8K, write_run
from test_gip_exp_main import records

from gip_exp.report.__main__ import main


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    rng = random.Random(0)
    for selector in ("mp_ma", "random"):
        values = {GSM8K: [float(rng.random() < 0.5) for _ in range(10)]}
        write_run(
            tmp_path, selector, values=values, settings={"tracking": {"group": "sweep7", "project": "lab"}}
        )
    return tmp_path


def whole_log(folder, seconds=120):
    """The records of a run's log. W&B's own process writes it, and may still do so after `finish` returned."""
    (log,) = folder.glob("*.wandb")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = list(records(log))
        if any(record.WhichOneof("record_type") == "exit" for record in found):
            return found
        time.sleep(0.1)
    raise AssertionError(f"{log} has no exit record after {seconds} s")


def logged(folder):
    found = whole_log(folder)
    (run,) = [record.run for record in found if record.WhichOneof("record_type") == "run"][:1]
    keys = {item.key or "/".join(item.nested_key) for r in found for item in r.history.item}
    return run, keys, found


def test_tables_and_figures_are_logged_in_the_sweeps_group(runs, capsys):
    assert main([str(runs), "--wandb"]) == 0
    (folder,) = (runs / "report" / "wandb").glob("offline-run-*")
    run, keys, found = logged(folder)
    assert (run.run_group, run.project, run.job_type) == ("sweep7", "lab", "report")
    assert any(key.startswith("report/") for key in keys)  # the page: W&B logs its parts under the key
    assert any(key.startswith("tables/") for key in keys)
    assert any(key.startswith("figures/") for key in keys)
    artifacts = [
        record.request.log_artifact.artifact for record in found if record.request.HasField("log_artifact")
    ]
    artifacts += [record.artifact for record in found if record.WhichOneof("record_type") == "artifact"]
    assert any(artifact.type == "report" for artifact in artifacts)
    shown = capsys.readouterr().out
    assert "wandb sync" in shown
    assert "offline-run-*" in shown


def test_a_report_made_again_is_the_same_wandb_run(runs):
    assert main([str(runs), "--wandb"]) == 0
    assert main([str(runs), "--wandb", "other"]) == 0
    folders = list((runs / "report" / "wandb").glob("offline-run-*"))
    assert len(folders) == 2  # their names tell no id: W&B numbers those of the same second
    assert len({logged(folder)[0].run_id for folder in folders}) == 1


def test_without_the_option_nothing_goes_to_wandb(runs):
    assert main([str(runs)]) == 0
    assert not (runs / "report" / "wandb").exists()


def test_a_wandb_mode_that_does_not_exist_is_a_message(runs, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    assert main([str(runs), "--wandb"]) == 2
    assert "WANDB_MODE='sometimes': allowed are" in capsys.readouterr().err
