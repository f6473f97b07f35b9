"""Re-selection in rounds: its stages, that rows and steps are those of one shot, and that later rounds read the tuned model."""

import io
import itertools
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from gip_exp import graph, pipeline
from gip_exp.artifacts import RANKING, ROW_LOSSES, read_features, read_pool
from gip_exp.console import Console
from gip_exp.data import split
from gip_exp.errors import UserError
from gip_exp.models import loading
from gip_exp.models.completion_losses import tuned_loss_encoder
from gip_exp.reselection import arm, share, steps_of
from gip_exp.selector_inputs import tuned_column
from gip_exp.signals.table import scores_of
from gip_exp.storage.files import read_jsonl
from gip_exp.storage.store import Entry

ROUNDS = (
    "rank/1", "select/1", "train/1", "score/tuned-1", "rank/2", "select/2", "train/2", "score/tuned-2", "rank", "select", "train",
)  # fmt: skip


def quiet():
    return Console(io.StringIO())


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("rounds")


@pytest.fixture(scope="module")
def in_rounds(micro, root):
    return pipeline.run(micro(root, "rounds=3", "train.steps=7"), quiet())


@pytest.fixture(scope="module")
def one_shot(micro, root):
    return pipeline.run(micro(root, "train.steps=7"), quiet())


def ids(outcome, stage="select"):
    return [row["id"] for row in read_jsonl(outcome.entries[stage].folder / "selected.jsonl")]


def test_every_round_is_a_stage_and_the_last_has_the_plain_names(in_rounds):
    names = [
        name for name in in_rounds.result["stages"] if name.startswith(("rank", "select", "train", "score/"))
    ]
    assert names == list(ROUNDS)
    assert in_rounds.result["selector"] == "mp_ma_rounds3"
    assert in_rounds.folder.name.startswith("mp_ma_rounds3_b0.1_s0-")
    assert in_rounds.result["status"] == "done"
    assert {"gsm8k/exact_match"} <= set(in_rounds.result["metrics"])


def test_rows_and_steps_of_all_rounds_are_those_of_one_shot(in_rounds, one_shot):
    chosen = ids(in_rounds)
    assert len(set(chosen)) == len(chosen) == len(ids(one_shot)) == 22
    assert in_rounds.result["training"]["steps"] == one_shot.result["training"]["steps"] == 7
    steps = [in_rounds.entries[name].facts["steps"] for name in ("train/1", "train/2", "train")]
    assert steps == [2, 3, 2]
    tokens = [in_rounds.entries[name].facts["tokens"] for name in ("train/1", "train/2", "train")]
    assert in_rounds.result["training"]["tokens"] == sum(tokens)
    assert [in_rounds.entries[name].facts["examples"] for name in ("train/1", "train/2", "train")] == [
        7,
        15,
        22,
    ]


def test_a_round_keeps_what_was_selected_and_the_first_is_the_start_of_one_shot(in_rounds, one_shot):
    assert ids(in_rounds, "select/1") == ids(one_shot)[:7]
    assert ids(in_rounds, "select/2")[:7] == ids(in_rounds, "select/1")
    assert ids(in_rounds)[:15] == ids(in_rounds, "select/2")
    ranked = pq.read_table(in_rounds.entries["rank"].folder / RANKING)["id"].to_pylist()
    assert ranked == ids(in_rounds)
    assert ids(in_rounds) != ids(one_shot)


def test_a_later_round_selects_by_the_losses_of_the_tuned_model(in_rounds, micro, root):
    """The rows of round 2 are those that GIP picks with one more column, among the rows not yet taken."""
    from selection import gip_select

    entries, config = in_rounds.entries, micro(root)
    column = tuned_column(entries["score/tuned-1"], "ifd")
    rows = pq.read_table(entries["rank/2"].folder / RANKING)["row"].to_numpy()
    kept = split.split(len(column), config.target).pool
    scores = scores_of(entries, "score", read_pool(entries).ids)
    features, free = read_features(entries)[kept], ~np.isin(kept, rows[:7])
    found = [
        kept[gip_select(features, 8, scores=columns[kept], candidates=free).indices].tolist()
        for columns in (np.column_stack([scores, column]), scores)
    ]
    assert found[0] == rows[7:].tolist()
    assert found[1] != found[0]


def test_a_round_goes_on_from_the_adapter_of_the_round_before(in_rounds):
    from safetensors.torch import load_file

    weights = [
        load_file(in_rounds.entries[name].folder / "adapter" / "adapter_model.safetensors")
        for name in ("train/1", "train/2", "train")
    ]
    assert weights[0].keys() == weights[1].keys() == weights[2].keys()
    for before, after in itertools.pairwise(weights):
        name = next(name for name in before if "lora_A" in name)
        # A new adapter would have another random first factor; a few steps move it only a little.
        moved = float((after[name] - before[name]).norm() / before[name].norm())
        assert 0 < moved < 0.5


def test_losses_are_those_of_the_tuned_model_on_its_own_tokens(in_rounds, micro, root):
    import torch
    from peft import PeftModel

    entries = in_rounds.entries
    losses = np.load(entries["score/tuned-1"].folder / ROW_LOSSES)
    assert losses.shape == (240, 2)
    ids_ = [5, 6, 7, 8, 9]
    place, adapter = str(entries["base"].folder), str(entries["train/1"].folder / "adapter")
    encode = tuned_loss_encoder(place, adapter, dtype="float32", batch_size=2, device="cpu")
    found = encode([json.dumps([ids_, 2]), json.dumps([[], 0])])
    model = PeftModel.from_pretrained(loading.load_base(place, "float32"), adapter).eval()
    with torch.inference_mode():
        given = torch.log_softmax(model(torch.tensor([ids_])).logits[0], -1)
        alone = torch.log_softmax(model(torch.tensor([ids_[2:]])).logits[0], -1)
    expected = [
        -np.mean([float(given[2, 8]), float(given[3, 9])]),
        -np.mean([float(alone[0, 8]), float(alone[1, 9])]),
    ]
    np.testing.assert_allclose(found[0], expected, rtol=1e-4)
    assert np.isnan(found[1]).all()


def test_repeating_computes_nothing_and_a_lost_round_is_made_again_alone(in_rounds, micro, root):
    import shutil

    again = pipeline.run(micro(root, "rounds=3", "train.steps=7"), quiet())
    assert all(stage["cached"] for stage in again.result["stages"].values())
    shutil.rmtree(in_rounds.entries["train/2"].folder)
    repaired = pipeline.run(micro(root, "rounds=3", "train.steps=7"), quiet())
    assert [name for name, stage in repaired.result["stages"].items() if not stage["cached"]] == ["train/2"]
    assert ids(repaired) == ids(in_rounds)


def test_without_scoring_again_the_rows_are_those_of_one_shot(in_rounds, one_shot, micro, root):
    control = pipeline.run(micro(root, "rounds=3", "rescore=none", "train.steps=7"), quiet())
    assert ids(control) == ids(one_shot)
    assert not [name for name in control.result["stages"] if "tuned" in name or name.startswith("rank/")]
    assert control.result["stages"]["train/1"]["cached"]  # the first round is that of re-selection
    assert control.result["training"]["steps"] == 7
    assert control.result["selector"] == "mp_ma_rounds3_none"


def test_rows_that_the_tuned_model_cannot_score_are_counted_and_said(micro, root):
    length = 24  # of some rows, the prompt alone is longer
    outcome = pipeline.run(
        micro(root, "rounds=2", "train.steps=4", f"train.max_length={length}", "until=train"), quiet()
    )
    entry = outcome.entries["score/tuned-1"]
    without = int(np.isnan(np.load(entry.folder / ROW_LOSSES)).any(axis=1).sum())
    assert 0 < without < len(read_pool(outcome.entries))
    assert entry.facts["n_unscored"] == without
    (note,) = entry.notes
    assert (
        f"{without:,} of 240 completions have fewer than two tokens within train.max_length={length}" in note
    )


def test_until_score_stops_before_any_training(micro, root):
    names = list(graph.stages(micro(root, "rounds=3", "until=score")))
    assert names == ["data", "score"]
    assert "train/2" in graph.stages(micro(root, "rounds=3", "until=select"))


def test_shares_add_up():
    for total in (1, 5, 187, 280):
        for last in (1, 2, 3, 7):
            assert share(total, last, last) == total
            if total >= last:
                assert sum(steps_of(total, number, last) for number in range(1, last + 1)) == total


def test_a_ratio_of_one_or_more_is_zero_and_no_loss_is_nan(tmp_path):
    np.save(tmp_path / ROW_LOSSES, np.log([[1, 2], [3, 2], [3, 4], [np.nan, np.nan]]).astype(np.float32))
    entry = Entry("score", "k", tmp_path, {"facts": {}, "seconds": 0.0, "notes": []}, cached=True)
    column = tuned_column(entry, "ifd")
    scale = np.sqrt((0.5**2 + 0.75**2) / 3)
    np.testing.assert_allclose(column[:3], np.array([0.5, 0, 0.75]) / scale, rtol=1e-5)
    assert np.isnan(column[3])
    assert tuned_column(entry, "loss")[1] == pytest.approx(tuned_column(entry, "loss")[2])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["selector=mp_sc"], "adds what the tuned model finds to the scores, but selector=mp_sc reads none"),
        (["selector=random"], "but selector=random reads none"),
        (
            ["budget_unit=tokens", "budget=900"],
            "rounds=3 selects and trains in turns: it needs train=lora and budget_unit=rows",
        ),
        (["train.steps=2"], r"rounds=3 needs a step for each round, but train\.steps=2"),
        (["selector=k_means", "rescore=none"], "rounds=3 is not possible with selector=k_means"),
        (["selector.processes=2"], "select in one process: set selector.processes=1"),
    ],
)
def test_what_rounds_cannot_do_is_one_message(overrides, message, micro, root):
    with pytest.raises(UserError, match=message):
        micro(root, "rounds=3", *overrides)


def test_fewer_rows_than_rounds_are_an_error_before_any_work(micro, root):
    with pytest.raises(UserError, match="rounds=3 needs a row for each round, but budget=2 of 216 rows is 2"):
        pipeline.run(micro(root, "rounds=3", "budget=2"), quiet())


def test_the_name_of_a_run_says_what_is_unusual_about_it(micro, root):
    assert arm(micro(root)) == "mp_ma"
    assert (
        arm(micro(root, "rounds=2", "rescore=loss", "distort.scores=noise"))
        == "mp_ma_rounds2_loss_scores_noise"
    )
    assert arm(micro(root, "distort.embeddings=rotation")) == "mp_ma_rotation"
