"""One run through every stage, on the quickstart shrunk by config: reuse, results, failures."""

import errno
import io
import json
import math
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import MICRO

from gip_exp import pipeline
from gip_exp.artifacts import read_pool
from gip_exp.config import parse
from gip_exp.config.evaluation import Evaluations
from gip_exp.console import Console
from gip_exp.errors import UserError
from gip_exp.storage.files import read_jsonl

EVERY_STAGE = ["data", "base", "score", "embed", "rank", "select", "describe", "train", "evaluate"]


def quiet():
    return Console(io.StringIO())


@pytest.fixture(scope="module")
def first(micro, shared_root):
    return pipeline.run(micro(shared_root), quiet())


def made(outcome):
    return [name for name, stage in outcome.result["stages"].items() if not stage["cached"]]


def test_a_run_goes_through_every_stage_and_leaves_the_result(first):
    result = json.loads((first.folder / "result.json").read_text())
    assert result == first.result
    assert list(result["stages"]) == EVERY_STAGE
    assert result["status"] == "done"
    assert (result["experiment"], result["selector"], result["judge"]) == ("quickstart", "mp_ma", "rules")
    assert (result["n_pool"], result["n_target"], result["n_selected"], result["n_unscored"]) == (
        216,
        24,
        22,
        0,
    )
    assert first.folder.name == f"mp_ma_b0.1_s0-{result['config_key']}"
    assert set(result["subset"]) == {"clean_share", "skills_covered", "n_skills", "skill_entropy"}


def test_every_metric_is_the_mean_of_its_questions_and_lies_in_its_interval(first):
    metrics = first.result["metrics"]
    assert {"gsm8k/exact_match", "answer_nll/completion", "answer_nll/numbers"} <= set(metrics)
    for name, metric in metrics.items():
        outcomes = read_jsonl(first.folder / "predictions" / f"{name}.jsonl")
        assert set(outcomes[0]) == {"id", "value", "output", "reference"}
        assert len(outcomes) == metric["n"] == 16
        assert metric["value"] == pytest.approx(sum(row["value"] for row in outcomes) / 16)
        assert metric["low"] <= metric["value"] <= metric["high"]


def test_the_selected_rows_carry_ranks_gains_and_texts(first):
    rows = read_jsonl(first.folder / "selected.jsonl")
    assert [row["rank"] for row in rows] == list(range(1, 23))
    assert len({row["id"] for row in rows}) == 22
    assert all(row["prompt"] and row["completion"] and math.isfinite(row["gain"]) for row in rows)


def test_the_config_beside_the_result_is_whole_and_holds_no_reference(first):
    text = (first.folder / "config.yaml").read_text()
    assert "${" not in text
    assert "experiment: quickstart" in text


def test_the_same_command_again_does_nothing_again_and_gives_the_same_result(first, micro, shared_root):
    again = pipeline.run(micro(shared_root), quiet())
    assert made(again) == []
    assert again.folder == first.folder
    assert again.result["metrics"] == first.result["metrics"]


def test_another_budget_reuses_data_scores_embeddings_and_the_ranking(first, micro, shared_root):
    other = pipeline.run(micro(shared_root, "budget=0.08", "until=train"), quiet())
    assert made(other) == ["select", "describe", "train"]
    more, fewer = ([row["id"] for row in read_jsonl(run.folder / "selected.jsonl")] for run in (first, other))
    assert fewer == more[: len(fewer)]
    assert len(fewer) < len(more)


def test_another_learning_rate_reuses_the_selection(first, micro, shared_root):
    assert made(pipeline.run(micro(shared_root, "train.lr=1e-4", "until=train"), quiet())) == ["train"]


def test_another_embedder_setting_makes_only_what_depends_on_it(first, micro, shared_root):
    assert made(pipeline.run(micro(shared_root, "embedder.dimensions=16", "until=select"), quiet())) == [
        "embed",
        "rank",
        "select",
        "describe",
    ]


def test_what_training_took_is_in_the_result(first):
    training = first.result["training"]
    assert training["steps"] == 4
    assert training["examples"] == 22
    assert {"first_loss", "last_loss", "tokens_per_second", "peak_memory_bytes"} <= set(training)
    lengths = training["lengths"]
    for part in ("prompt", "completion", "both"):
        assert set(lengths[part]) == {"min", "median", "p95", "max"}
        assert (
            0
            < lengths[part]["min"]
            <= lengths[part]["median"]
            <= lengths[part]["p95"]
            <= lengths[part]["max"]
        )
    assert lengths["prompt"]["max"] < lengths["both"]["max"]
    assert (lengths["truncated"], lengths["without_loss"]) == (0, 0)


def test_examples_that_are_cut_are_counted_and_told(first, micro, shared_root):
    longest = first.result["training"]["lengths"]
    length = longest["prompt"]["max"]  # at least one prompt fills it
    said = io.StringIO()
    outcome = pipeline.run(micro(shared_root, f"train.max_length={length}", "until=train"), Console(said))
    lengths = outcome.result["training"]["lengths"]
    assert lengths["truncated"] >= lengths["without_loss"] >= 1
    cut, lost = lengths["truncated"] - lengths["without_loss"], lengths["without_loss"]
    told = said.getvalue()
    assert f"{cut} of 22 examples are longer than train.max_length={length} and are truncated (train-" in told
    assert f"{lost} of 22 examples are left out: their prompts fill train.max_length={length} tokens" in told
    with pytest.raises(UserError, match=r"every prompt fills train\.max_length=3 tokens"):
        pipeline.run(micro(shared_root, "train.max_length=3", "until=train"), quiet())


def test_full_trains_once_however_it_is_swept(first, micro, shared_root):
    one = pipeline.run(micro(shared_root, "selector=full", "budget=0.1", "until=train"), quiet())
    two = pipeline.run(micro(shared_root, "selector=full", "budget=0.5", "until=train"), quiet())
    assert made(one) == ["rank", "select", "describe", "train"]
    assert made(two) == []
    assert one.folder == two.folder
    assert one.result["n_selected"] == 216


def test_selectors_that_choose_the_same_rows_in_the_same_order_share_the_adapter(first, micro, shared_root):
    other = pipeline.run(micro(shared_root, "selector.tol=1e-7", "until=train"), quiet())
    assert made(other) == ["rank", "select", "describe"]


def test_until_stops_and_says_so(micro, tmp_path):
    outcome = pipeline.run(micro(tmp_path, "until=select"), quiet())
    assert (outcome.result["status"], outcome.result["metrics"]) == ("stopped:select", {})
    assert list(outcome.result["stages"]) == [
        "data",
        "score",
        "embed",
        "rank",
        "select",
        "describe",
    ]  # no base, nothing needs it
    assert (outcome.folder / "selected.jsonl").is_file()


def test_a_stopped_run_goes_on_in_the_same_folder(micro, tmp_path):
    stopped = pipeline.run(micro(tmp_path, "until=select"), quiet())
    further = pipeline.run(micro(tmp_path, "until=rank"), quiet())
    assert stopped.folder == further.folder
    assert made(further) == []


def test_a_run_that_is_done_stays_done_when_asked_for_again_up_to_a_stage(first, micro, shared_root):
    again = pipeline.run(micro(shared_root, "until=select"), quiet())
    assert again.folder == first.folder
    kept = json.loads((first.folder / "result.json").read_text())
    assert (kept["status"], kept["metrics"]) == ("done", first.result["metrics"])


def test_a_run_in_a_store_that_cannot_be_written_is_shown_as_it_stands(
    first, micro, shared_root, monkeypatch
):
    monkeypatch.setattr(pipeline, "writable", lambda _: False)
    before = (first.folder / "config.yaml").stat().st_mtime_ns
    said = io.StringIO()
    again = pipeline.run(micro(shared_root), Console(said))
    assert (made(again), again.result["metrics"]) == ([], first.result["metrics"])
    assert "is read-only: existing outputs are shown" in said.getvalue()
    assert (first.folder / "config.yaml").stat().st_mtime_ns == before


def test_a_disk_that_fills_up_at_the_end_leaves_the_files_of_a_finished_run_whole(
    first, micro, shared_root, monkeypatch
):
    def half(source, target):
        target.write(source.read(40))
        raise OSError(errno.ENOSPC, "No space left on device")

    before = {
        path: path.read_bytes() for path in first.folder.rglob("*.json*") if "run_lock" not in path.name
    }
    monkeypatch.setattr(shutil, "copyfileobj", half)
    with pytest.raises(
        UserError, match=r"no space left below .* while writing .*mp_ma_b0.1_s0.*run the same command"
    ):
        pipeline.run(micro(shared_root), quiet())
    after = {path: path.read_bytes() for path in first.folder.rglob("*.json*") if "run_lock" not in path.name}
    assert after == before
    assert not list(first.folder.rglob("*.tmp"))


def test_a_tracker_that_fails_at_the_end_does_not_undo_the_run(micro, tmp_path, monkeypatch):
    from gip_exp.runs import tracking

    ended, end = [], tracking.WandbTracker._end
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(tracking.WandbTracker, "_upload", lambda *_: 1 / 0)
    monkeypatch.setattr(tracking.WandbTracker, "_end", lambda tracker: ended.append("run") or end(tracker))
    said = io.StringIO()
    outcome = pipeline.run(micro(tmp_path, "until=data", "tracking=wandb"), Console(said))
    assert json.loads((outcome.folder / "result.json").read_text())["status"] == "stopped:data"
    assert "W&B could not log the result (ZeroDivisionError)" in said.getvalue()
    assert "no WANDB_API_KEY" not in said.getvalue()  # offline was asked for
    assert ended == ["run"]


def test_a_wandb_mode_that_does_not_exist_is_a_message(micro, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    with pytest.raises(UserError, match="WANDB_MODE='sometimes': allowed are online, offline"):
        pipeline.run(micro(tmp_path, "until=data", "tracking=wandb"), quiet())


def test_a_selector_without_scores_asks_no_judge(micro, tmp_path):
    outcome = pipeline.run(micro(tmp_path, "selector=mp_sc", "until=select"), quiet())
    assert "score" not in outcome.result["stages"]
    assert outcome.result["judge"] is None


def test_the_untuned_base_can_be_evaluated(first, compose, shared_root):
    settings = [setting for setting in MICRO if not setting.startswith("train.")]
    config = parse(compose(*settings, "train=none", f"paths.root={shared_root}"))
    outcome = pipeline.run(config, quiet())
    assert "train" not in outcome.result["stages"]
    assert outcome.result["metrics"]["answer_nll/completion"]["value"] > 0
    assert outcome.result["metrics"] != first.result["metrics"]


def test_no_target_row_is_ever_selected_and_the_pool_is_the_same_for_all(first, micro, shared_root):
    chosen = {}
    for selector in ("full", "random", "top_score", "gate_random"):
        outcome = pipeline.run(
            micro(shared_root, f"selector={selector}", "budget=1.0", "until=select"), quiet()
        )
        chosen[selector] = {row["id"] for row in read_jsonl(outcome.folder / "selected.jsonl")}
        assert outcome.result["n_pool"] == 216
    assert all(ids == chosen["full"] for ids in chosen.values())


def test_a_budget_beyond_the_pool_stops_before_anything_is_trained(micro, tmp_path):
    with pytest.raises(UserError, match="budget=500 exceeds the pool of 216 rows"):
        pipeline.run(micro(tmp_path, "budget=500"), quiet())
    assert not (tmp_path / "runs").exists()
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["data"]


def test_everything_that_is_missing_is_listed_before_any_work(compose, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    config = parse(compose("+experiment=gsm8k_qwen", f"paths.root={tmp_path}", "engine.device=cpu"))
    with pytest.raises(UserError) as caught:
        pipeline.run(config, quiet())
    message = str(caught.value)
    for part in ("data set openai/gsm8k", "model Qwen/Qwen3-8B", "a GPU", "OPENAI_API_KEY"):
        assert part in message
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_leaves_a_result_that_says_why(micro, tmp_path, monkeypatch):
    from gip_exp.stages import embed

    def broken(*_):
        raise UserError("the encoder is out of order")

    monkeypatch.setattr(embed, "_check", broken)
    with pytest.raises(UserError, match="out of order"):
        pipeline.run(micro(tmp_path, "until=select"), quiet())
    result = json.loads(next((tmp_path / "runs").rglob("result.json")).read_text())
    assert (result["status"], result["metrics"]) == ("failed", {})
    assert "the encoder is out of order" in result["error"]
    assert list(result["stages"]) == ["data", "score"]


def test_no_label_reaches_a_judge_an_embedder_or_a_selector(micro, tmp_path, monkeypatch):
    """The label file may be read once the selection is made, for the report, and never before."""
    from gip_exp.artifacts import LABELS

    outcome = pipeline.run(micro(tmp_path, "until=data"), quiet())
    (outcome.entries["data"].folder / LABELS).rename(tmp_path / "hidden")
    entry = outcome.entries["data"].folder / "manifest.json"
    manifest = json.loads(entry.read_text())
    del manifest["files"][LABELS]
    entry.write_text(json.dumps(manifest))
    without = pipeline.run(micro(tmp_path, "until=select"), quiet())
    assert without.result["subset"] == {}
    columns = read_jsonl(without.folder / "selected.jsonl")[0]
    assert set(columns) == {"id", "prompt", "completion", "rank", "gain"}


def test_real_gsm8k_goes_through_selection_with_its_constant_attributes_dropped(compose, data_dir, tmp_path):
    said = io.StringIO()
    config = parse(
        compose(
            "+experiment=gsm8k_cpu",
            f"data.path={data_dir}/gsm8k",
            f"paths.root={tmp_path}",
            "data.limit=400",
            "until=select",
        )
    )
    outcome = pipeline.run(config, Console(said))
    assert outcome.result["n_pool"] == 360
    assert outcome.result["n_selected"] == 36
    assert (
        "final_line 1" in said.getvalue().split("because every row has the same value: ")[1].splitlines()[0]
    )


@pytest.mark.parametrize(
    "selector",
    [
        "omp_ma",
        "logdet_ma",
        "dsir",
        "disf",
        "k_center",
        "k_means",
        "facility_location",
        "dpp",
        "less",
        "target_similarity",
        "mp_target",
        "rds_plus",
        "qdit",
        "longest",
        "distinct_random",
        "ifd",
        "perplexity",
    ],
)
def test_every_other_selector_goes_through_the_same_pipeline(first, micro, shared_root, selector):
    outcome = pipeline.run(micro(shared_root, f"selector={selector}", "until=select"), quiet())
    rows = read_jsonl(outcome.folder / "selected.jsonl")
    pool_ids = {row["id"] for row in read_pool(outcome.entries)}
    assert len({row["id"] for row in rows}) == outcome.result["n_selected"] == 22
    assert {row["id"] for row in rows} <= pool_ids
    assert outcome.result["n_target"] == 24


def test_less_shares_its_warm_up_and_gradients_between_budgets(first, micro, shared_root):
    pipeline.run(micro(shared_root, "selector=less", "until=select"), quiet())
    other = pipeline.run(micro(shared_root, "selector=less", "budget=0.08", "until=select"), quiet())
    assert made(other) == ["select", "describe"]


def test_embeddings_that_fill_the_memory_are_ranked_from_disk_alike(
    micro, shared_root, tmp_path, monkeypatch
):
    here = ["selector=mp_sc", "until=select"]
    expected = pipeline.run(micro(shared_root, *here), quiet())
    monkeypatch.setattr("gip_exp.selector_inputs.fills_memory", lambda _: True)
    found = pipeline.run(micro(tmp_path / "outputs", *here), quiet())
    assert read_jsonl(found.folder / "selected.jsonl") == read_jsonl(expected.folder / "selected.jsonl")
    assert "reads them from disk" in found.entries["rank"].notes[0]
    assert {path.name for path in found.entries["rank"].folder.iterdir()} == {
        "manifest.json",
        "ranking.parquet",
    }


def test_a_ranking_that_is_not_nested_is_made_for_its_own_budget(first, micro, shared_root):
    pipeline.run(micro(shared_root, "selector=k_means", "until=select"), quiet())
    other = pipeline.run(micro(shared_root, "selector=k_means", "budget=0.05", "until=select"), quiet())
    assert made(other) == ["rank", "select", "describe"]


def test_processes_share_less_gradients_and_find_the_same_features(first, micro, shared_root, tmp_path):
    from baselines.less import TARGET, TRAIN
    from gip_exp.stages.gradients import WORK

    one = pipeline.run(micro(shared_root, "selector=less", "until=gradients"), quiet()).entries["gradients"]
    shared = ["selector=less", "until=gradients", "train.processes=2", "train.micro_batch=8"]
    entry = pipeline.run(micro(shared_root, *shared), quiet()).entries["gradients"]
    assert entry.key == one.key
    (one.folder / "manifest.json").unlink()  # a damaged output is made again
    two = pipeline.run(micro(shared_root, *shared), quiet()).entries["gradients"]
    assert not two.cached
    assert not (two.folder / WORK).exists()
    damaged = two.folder.with_name(two.folder.name + ".damaged-1")
    for part in (TRAIN, TARGET):
        for shard in (two.folder / "checkpoint-0" / part).glob("*.npy"):
            old = damaged / "checkpoint-0" / part / shard.name
            assert np.load(shard) == pytest.approx(np.load(old), abs=1e-6)


def test_a_budget_in_tokens_takes_the_longest_prefix_within_it(first, micro, shared_root):
    from gip_exp.artifacts import RANKING
    from gip_exp.models.loading import load_tokenizer

    chosen = ["selector=random", "budget_unit=tokens", "until=select"]
    outcome = pipeline.run(micro(shared_root, *chosen, "budget=1500"), quiet())
    rows = read_jsonl(outcome.folder / "selected.jsonl")
    tokenizer = load_tokenizer(str(outcome.entries["base"].folder))
    texts = [f"Question: {row['prompt']}\nAnswer: {row['completion']}" for row in rows]
    lengths = [len(tokenizer(text)["input_ids"]) + 1 for text in texts]  # and the end of the text
    assert sum(lengths) == outcome.result["n_tokens"] <= 1500
    assert outcome.result["n_selected"] == len(rows)
    ranking = pq.read_table(outcome.entries["rank"].folder / RANKING)["id"].to_pylist()
    assert [row["id"] for row in rows] == ranking[: len(rows)]
    following = next(row for row in read_pool(outcome.entries) if row["id"] == ranking[len(rows)])
    more = (
        len(tokenizer(f"Question: {following['prompt']}\nAnswer: {following['completion']}")["input_ids"]) + 1
    )
    assert outcome.result["n_tokens"] + more > 1500
    tenth = pipeline.run(micro(shared_root, *chosen, "budget=0.1"), quiet()).result
    half = pipeline.run(micro(shared_root, *chosen, "budget=0.5"), quiet()).result
    assert 4.8 < half["n_tokens"] / tenth["n_tokens"] < 5.4
    with pytest.raises(UserError, match="budget=1 with budget_unit=tokens is 1 tokens"):
        pipeline.run(micro(shared_root, *chosen, "budget=1"), quiet())


def test_the_model_before_fine_tuning_is_evaluated_once_for_all_selectors(
    first, micro, shared_root, tmp_path
):
    from gip_exp.cli.run import _run

    said = io.StringIO()
    for selector in ("random", "mp_sc"):
        _run(micro(shared_root, f"selector={selector}"), Console(said))
    assert said.getvalue().count("the same model before fine-tuning") == 1
    (folder,) = (shared_root / "runs" / first.result["experiment"]).glob("untuned_b1_s0-*")
    result = json.loads((folder / "result.json").read_text())
    assert "train" not in result["stages"]
    assert set(result["metrics"]) == set(first.result["metrics"])


def test_runs_without_a_comparison_leave_the_model_before_fine_tuning_out(micro, shared_root):
    config = micro(shared_root)
    before = config.before_tuning()
    assert (before.train.kind, before.budget, before.model) == ("none", 1, config.model)
    assert before.before_tuning() is None
    for change in ({"until": "select"}, {"untuned": False}, {"evaluation": Evaluations()}):
        assert config.model_copy(update=change).before_tuning() is None
