"""Reading run folders: what counts as a run, what is refused, and that every message names file and remedy."""

import json
import os

import pytest

from gip_exp.errors import UserError
from gip_exp.report import checks
from gip_exp.report.__main__ import main
from gip_exp.report.arrange import name_metrics
from gip_exp.report.runs import read_runs
from tests.report_runs import GSM8K, write_rows, write_run


def check(root):
    checks.check(name_metrics(read_runs(root).runs))


def test_a_run_is_read_with_its_answers_and_selected_ids(tmp_path):
    write_run(tmp_path, values={GSM8K: [1, 0, 1]}, selected=[4, 2], settings={"selector": {"ridge": 0.5}})
    (run,) = read_runs(tmp_path).runs
    assert [answer.value for answer in run.answers[GSM8K].values()] == [1.0, 0.0, 1.0]
    assert run.selected == {"train-004", "train-002"}
    assert run.settings["selector.ridge"] == 0.5
    assert run.tuned


def test_runs_are_found_at_any_depth_but_never_in_the_store_an_old_report_or_an_ablation(tmp_path):
    write_run(tmp_path / "outputs" / "runs")
    for place in ("store", "report", "wandb", "ablations"):
        write_run(tmp_path / place)
    assert len(read_runs(tmp_path).runs) == 1
    assert len(read_runs(tmp_path / "outputs" / "runs" / "toy" / "mp_ma_b0.1_s0").runs) == 1


def test_train_none_is_untuned_also_without_a_config(tmp_path):
    folder = write_run(tmp_path, tuned=False)
    (folder / "config.yaml").unlink()
    assert not read_runs(tmp_path).runs[0].tuned


def test_failed_unfinished_and_stopped_runs_are_listed_not_hidden(tmp_path):
    write_run(tmp_path)
    write_run(tmp_path, seed=1, status="failed", error="OutOfMemoryError: 80 GB")
    (write_run(tmp_path, seed=2) / "result.json").unlink()
    write_run(tmp_path, seed=3, status="stopped:score", n_selected=None, values={})
    write_run(tmp_path, seed=4, status="stopped:select", values={})
    found = read_runs(tmp_path)
    assert sorted(run.seed for run in found.runs) == [0, 4]
    told = {other.status: other.reason for other in found.others}
    assert told["failed"] == "OutOfMemoryError: 80 GB"
    assert "killed" in told["unfinished"]
    assert "before anything was selected" in told["stopped:score"]


def test_an_empty_folder_is_refused_with_what_to_do(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert f"there are no runs below {tmp_path}" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_a_folder_that_is_not_there_is_refused(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_a_folder_without_a_finished_run_lists_each_with_its_reason(tmp_path, capsys):
    write_run(tmp_path, status="failed", error="UserError: no GPU")
    (write_run(tmp_path, seed=1) / "result.json").unlink()
    assert main([str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "none of the 2 runs" in message
    assert "no GPU" in message
    assert "mp_ma_b0.1_s1" in message


def test_all_damaged_files_are_reported_together(tmp_path, capsys):
    half = write_run(tmp_path) / "result.json"
    half.write_text(half.read_text()[:40])
    (write_run(tmp_path, seed=1) / "result.json").write_text("[]")
    (write_run(tmp_path, seed=2) / "result.json").write_text('{"experiment": "toy"}')
    cut = write_run(tmp_path, seed=3) / "predictions" / f"{GSM8K}.jsonl"
    cut.write_text(cut.read_text()[:-9])
    (write_run(tmp_path, seed=4) / "config.yaml").write_text("a: [")
    assert main([str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "5 of the runs" in message
    assert f"{half} is damaged or incomplete" in message
    assert "holds no JSON object" in message
    assert "model is missing; selector is missing; budget is missing" in message
    assert "exact_match.jsonl, line 2, is damaged" in message
    assert "config.yaml is damaged" in message


def test_predictions_must_agree_with_the_result(tmp_path):
    folder = write_run(tmp_path, values={GSM8K: [1, 1, 0]})
    path = folder / "predictions" / f"{GSM8K}.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(UserError, match=r"2 outcomes with mean 1, but result.json says 0.666667 over 3"):
        read_runs(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=r"gives gsm8k/exact_match, but .*exact_match.jsonl is missing"):
        read_runs(tmp_path)


def test_rows_without_their_fields_are_named(tmp_path):
    folder = write_run(tmp_path)
    write_rows(folder / "predictions" / f"{GSM8K}.jsonl", [{"id": "q00", "value": 1}])
    with pytest.raises(UserError, match="a row without id, value or reference"):
        read_runs(tmp_path)
    folder = write_run(tmp_path / "b", seed=1)
    write_rows(folder / "selected.jsonl", [{"row": 1}])
    with pytest.raises(UserError, match="a row without an id"):
        read_runs(tmp_path / "b")


def test_other_data_for_the_same_seed_is_another_table(tmp_path, capsys):
    write_run(tmp_path, data_key="aaaa")
    write_run(tmp_path, "random", data_key="bbbb")
    assert main([str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "toy [data=aaaa]" in shown
    assert "toy [data=bbbb]" in shown


def test_seeds_may_draw_their_own_data(tmp_path):
    write_run(tmp_path, data_key="aaaa")
    write_run(tmp_path, seed=1, data_key="bbbb", reference="another answer")
    check(tmp_path)


def test_experiments_may_differ_in_data(tmp_path):
    write_run(tmp_path, data_key="aaaa")
    write_run(tmp_path, experiment="other", data_key="bbbb", values={GSM8K: [1] * 5})
    check(tmp_path)


def test_other_questions_are_refused(tmp_path):
    write_run(tmp_path, values={GSM8K: [1, 0]}, settings={"evaluation": {"gsm8k": {"limit": 2}}})
    write_run(tmp_path, "random", values={GSM8K: [1, 0, 1]}, settings={"evaluation": {"gsm8k": {"limit": 3}}})
    with pytest.raises(
        UserError, match=r"answered different questions: 2 questions q00\.\.q01 .*; 3 questions"
    ):
        check(tmp_path)


def test_the_same_ids_with_another_reference_are_other_questions(tmp_path):
    write_run(tmp_path)
    write_run(tmp_path, "random", reference="swapped")
    with pytest.raises(
        UserError, match=r"q00 has another reference in random_b0\.1_s0 than in mp_ma_b0\.1_s0"
    ):
        check(tmp_path)


def test_mt_bench_may_lack_questions_that_the_judge_did_not_rate(tmp_path):
    write_run(tmp_path, values={"mt_bench/all": [5, 6]})
    write_run(tmp_path, "random", values={"mt_bench/all": [5, 6, 7]})
    check(tmp_path)


def test_an_unwritable_place_for_the_report_is_a_users_error(tmp_path, capsys):
    write_run(tmp_path / "runs")
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "file" / "report")]) == 2
    assert "choose another folder with --out" in capsys.readouterr().err


def test_the_result_is_read_as_written_by_the_pipeline_fields(tmp_path):
    """`subset` is absent in older results: a run without it is still a run."""
    path = write_run(tmp_path) / "result.json"
    result = json.loads(path.read_text())
    del result["subset"]
    path.write_text(json.dumps(result))
    assert read_runs(tmp_path).runs[0].subset == {}


def test_mixtures_of_every_experiment_are_named_at_once(tmp_path, capsys):
    write_run(tmp_path)
    write_run(tmp_path, "random", values={GSM8K: [1] * 7})
    write_run(tmp_path, experiment="toys")
    write_run(tmp_path, "random", experiment="toys", values={GSM8K: [1] * 5})
    assert main([str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "experiment toy, gsm8k/exact_match: the runs answered different questions" in message
    assert "experiment toys, gsm8k/exact_match: the runs answered different questions" in message


def test_a_run_made_again_on_other_data_replaces_the_older_one(tmp_path):
    old = write_run(tmp_path, name="old", data_key="a")
    new = write_run(tmp_path, name="new", data_key="b")
    os.utime(old / "result.json", (1, 1))
    os.utime(new / "result.json", (2, 2))
    found = read_runs(tmp_path)
    assert [run.folder for run in found.runs] == [new]
    assert [(other.folder, other.status) for other in found.others] == [(old, "superseded")]
