"""Sorting runs: nothing is averaged that was not made alike, and nothing is counted twice."""

import os

import pytest

from gip_exp.report.arrange import make_study, name_metrics
from gip_exp.report.neutral import is_neutral, neutral_keys
from gip_exp.report.rows import make_result
from gip_exp.report.runs import read_runs
from gip_exp.report.tables import result_table
from gip_exp.report.text import NONE
from tests.report_runs import GSM8K, write_run


def study(root):
    return make_study(name_metrics(read_runs(root).runs))


def labels(group):
    return [(cell.arm.label, cell.budget_label, sorted(cell.runs)) for cell in group.cells]


def test_cells_stand_by_method_then_budget_with_their_seeds(tmp_path):
    for seed in (0, 1):
        for selector in ("random", "mp_sc", "mp_ma"):
            write_run(tmp_path, selector, seed=seed, budget=0.2)
        write_run(tmp_path, "full", seed=seed)
    write_run(tmp_path, "mp_ma", budget=5)
    write_run(tmp_path, "mp_ma", tuned=False)
    (group,) = study(tmp_path)
    assert labels(group) == [
        ("MP+MA", "5 (5 %)", [0]),
        ("MP+MA", "20 %", [0, 1]),
        ("MP+SC", "20 %", [0, 1]),
        ("Random", "20 %", [0, 1]),
        ("Full data", "100 %", [0, 1]),
        ("Base, not tuned", "–", [0]),
    ]
    assert group.budgets == [0.05, 0.2]


def test_a_selector_with_two_settings_makes_two_arms(tmp_path):
    for ridge in (0.1, 1.0):
        write_run(tmp_path, name=f"r{ridge}", settings={"selector": {"ridge": ridge, "seed": 7 * ridge}})
    write_run(tmp_path, "random")
    (group,) = study(tmp_path)
    assert [cell.arm.label for cell in group.cells] == ["MP+MA [ridge=0.1]", "MP+MA [ridge=1.0]", "Random"]


def test_an_embedder_that_a_run_did_not_use_makes_no_arm(tmp_path):
    for seed, embedder in enumerate(("tfidf", "hidden_state")):
        write_run(tmp_path, "random", seed=seed, settings={"embedder": {"name": embedder}})
        with_features = {"embed": 1.0}
        write_run(
            tmp_path,
            "mp_sc",
            seed=seed,
            seconds=with_features,
            settings={"embedder": {"name": embedder, "dimensions": seed + 1}},
        )
    (group,) = study(tmp_path)
    assert labels(group) == [
        ("MP+SC [name=hidden_state]", "10 %", [1]),
        ("MP+SC [name=tfidf]", "10 %", [0]),
        ("Random", "10 %", [0, 1]),
    ]


def test_other_training_makes_another_group_and_the_base_joins_both(tmp_path):
    for lr in (1e-4, 1e-3):
        write_run(tmp_path, name=f"lr{lr}", settings={"train": {"kind": "lora", "lr": lr, "micro_batch": lr}})
    write_run(tmp_path, tuned=False, settings={"train": {"kind": "none"}})
    first, second = study(tmp_path)
    assert {first.title, second.title} == {
        "toy · tiny arithmetic model [lr=0.0001]",
        "toy · tiny arithmetic model [lr=0.001]",
    }
    assert [cell.arm.method for cell in first.cells] == ["mp_ma", "untuned"]
    assert [cell.arm.method for cell in second.cells] == ["mp_ma", "untuned"]


def test_a_base_of_another_model_setting_stands_alone(tmp_path):
    write_run(tmp_path, settings={"model": {"dtype": "float32"}})
    write_run(tmp_path, "random", settings={"model": {"dtype": "bfloat16"}})
    write_run(tmp_path, tuned=False, settings={"model": {"dtype": "float16"}, "train": {"kind": "none"}})
    assert len(study(tmp_path)) == 3


def test_other_evaluation_settings_make_other_metrics(tmp_path):
    for shots in (0, 5):
        write_run(tmp_path, name=f"shots{shots}", settings={"evaluation": {"gsm8k": {"shots": shots}}})
    (group,) = study(tmp_path)
    assert group.metrics == [f"{GSM8K} [shots=0]", f"{GSM8K} [shots=5]"]
    (cell,) = group.cells
    assert [sorted(cell.answers(metric)) for metric in group.metrics] == [[0], [0]]


def test_outputs_shared_by_two_runs_count_once(tmp_path):
    shared = {"evaluate": "same", "train": "same"}
    write_run(tmp_path, name="a", keys=shared)
    write_run(tmp_path, name="b", keys=shared)
    for seed in (0, 1):
        write_run(tmp_path, "random", seed=seed, tuned=False, keys={"evaluate": "base"})
    (group,) = study(tmp_path)
    assert [len(cell.all_runs()) for cell in group.cells] == [1, 1]
    assert len(group.notes) == 2
    assert all("counted once" in note for note in group.notes)


def test_two_arms_that_chose_the_same_rows_keep_their_runs(tmp_path):
    for ridge in (0.1, 1.0):
        settings = {"selector": {"ridge": ridge}}
        write_run(tmp_path, name=f"r{ridge}", settings=settings, keys={"evaluate": "same", "train": "same"})
    (group,) = study(tmp_path)
    assert labels(group) == [("MP+MA [ridge=0.1]", "10 %", [0]), ("MP+MA [ridge=1.0]", "10 %", [0])]
    assert group.notes == ()


def test_settings_that_are_lists_tell_arms_apart(tmp_path):
    for names in (["q_proj"], ["q_proj", "v_proj"]):
        settings = {"selector": {"warmup": {"target_modules": names}}}
        write_run(tmp_path, "less", name=f"less{len(names)}", settings=settings)
    (group,) = study(tmp_path)
    assert [cell.arm.label for cell in group.cells] == [
        'LESS [warmup.target_modules=["q_proj", "v_proj"]]',
        'LESS [warmup.target_modules=["q_proj"]]',
    ]


def test_the_newer_of_two_runs_of_a_cell_counts_and_the_older_is_named(tmp_path):
    old = write_run(tmp_path, name="old", values={GSM8K: [0, 0]})
    new = write_run(tmp_path, name="new", values={GSM8K: [1, 1]})
    os.utime(old / "result.json", (1, 1))
    os.utime(new / "result.json", (2, 2))
    (group,) = study(tmp_path)
    (cell,) = group.cells
    assert [answer.value for answer in cell.answers(GSM8K)[0].values()] == [1, 1]
    assert group.notes == ("old is older than new (same cell and seed): left out",)


def test_a_run_evaluated_twice_keeps_both_metrics(tmp_path):
    write_run(tmp_path, name="gsm8k")
    write_run(tmp_path, name="nll", values={"answer_nll/numbers": [0.5, 0.7]})
    (group,) = study(tmp_path)
    (cell,) = group.cells
    assert all(cell.answers(metric) for metric in (GSM8K, "answer_nll/numbers"))
    assert group.notes == ()


def test_a_run_stopped_after_selection_has_a_cell_without_metrics(tmp_path):
    write_run(tmp_path, status="stopped:select", values={}, keys={})
    (group,) = study(tmp_path)
    assert group.metrics == []
    assert len(group.selecting()) == 1


def test_neutral_settings_are_those_that_the_config_marks():
    keys = neutral_keys()
    assert {"train.micro_batch", "engine.device", "data.path", "paths", "selector.warmup.micro_batch"} <= keys
    assert not {"train.lr", "selector.ridge", "seed", "evaluation.gsm8k.shots"} & keys
    assert is_neutral("paths.root")
    assert not is_neutral("train.batch")


@pytest.mark.parametrize("selector", ["mp_ma", "something_new"])
def test_an_unlisted_selector_is_shown_by_its_name(tmp_path, selector):
    write_run(tmp_path, selector)
    (group,) = study(tmp_path)
    assert group.cells[0].arm.label == {"mp_ma": "MP+MA", "something_new": "something new"}[selector]


def test_budgets_in_tokens_share_a_cell_although_the_rows_differ(tmp_path):
    for seed, n in ((0, 9), (1, 12)):
        for selector in ("mp_ma", "random"):
            rows = n + (selector == "random")
            write_run(tmp_path, selector, seed=seed, budget=2000, budget_unit="tokens", n_selected=rows)
    write_run(tmp_path, "mp_ma", budget=0.1, budget_unit="tokens", n_selected=9)
    write_run(tmp_path, "mp_ma", budget=10)
    (group,) = study(tmp_path)
    assert sorted(labels(group)) == [
        ("MP+MA", "10 % of tokens", [0]),
        ("MP+MA", "10 (10 %)", [0]),
        ("MP+MA", "2,000 tokens", [0, 1]),
        ("Random", "2,000 tokens", [0, 1]),
    ]
    mp = next(cell for cell in group.cells if cell.budget_label == "2,000 tokens")
    assert group.find("random", mp.size).n_selected in (10, 13)


@pytest.mark.parametrize(
    ("train", "note"),
    [
        (
            {"epochs": 3, "steps": None},
            "Equal epochs: every arm trains for 3 epochs (train.epochs) of its subset, 12 to 90",
        ),
        (
            {"epochs": None, "steps": 280},
            "Equal steps: every arm trains for 280 steps (train.steps), so a smaller",
        ),
    ],
)
def test_a_table_says_how_long_its_arms_train_on_how_much(tmp_path, train, note):
    settings = {"train": {"kind": "lora", **train}}
    for selector, steps, tokens in (("mp_ma", 12, 3000), ("random", 12, 2400), ("full", 90, 21000)):
        training = {"steps": steps, "tokens": tokens}
        write_run(tmp_path, selector, settings=settings, training=training, mean_words=41.6)
    write_run(tmp_path, "random", tuned=False, name="base", mean_words=41.6)
    (group,) = study(tmp_path)
    table = result_table(make_result(group, GSM8K))
    heads = [column.name for column in table.columns]
    at = heads.index("tokens trained")
    assert [row[at : at + 2] for row in table.rows] == [
        ("3,000", "42"),
        ("2,400", "42"),
        ("21,000", "42"),
        (NONE, NONE),
    ]
    assert any(text.startswith(note) for text in table.notes)


def test_a_table_says_if_random_has_fewer_seeds_or_the_base_is_missing(tmp_path):
    for seed in (0, 1, 2):
        write_run(tmp_path, "mp_ma", seed=seed)
    write_run(tmp_path, "random")
    (group,) = study(tmp_path)
    notes = " ".join(result_table(make_result(group, GSM8K)).notes)
    assert (
        "Random has fewer seeds than other methods, so its interval is too narrow (MP+MA 10 %: 3 for 1)."
        in notes
    )
    assert "No row for the model before fine-tuning" in notes
    for seed in (1, 2):
        write_run(tmp_path, "random", seed=seed)
    write_run(tmp_path, "random", tuned=False, name="base")
    (group,) = study(tmp_path)
    notes = " ".join(result_table(make_result(group, GSM8K)).notes)
    assert "fewer seeds" not in notes
    assert "No row" not in notes
