"""How a judge's scores tell sound rows from rows with known flaws."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from gip_exp import pipeline
from gip_exp.cli.run import show
from gip_exp.config import parse
from gip_exp.console import Console
from gip_exp.judgements.known_flaws import by_flaw, line, warning

FLAWS = ("truncated", "other_problem")


def judged(shift, n=300, seed=0, grades=True):
    """Return means and labels of n rows, half of them flawed; sound rows score `shift` standard deviations higher."""
    rng = np.random.default_rng(seed)
    flaws = [None, *FLAWS, None]
    labels = [{"id": f"r{i}", "flaw": flaws[i % 4]} for i in range(n)]
    values = [rng.normal() + shift * (row["flaw"] is None) for row in labels]
    return {
        row["id"]: float(np.round(v) if grades else v) for row, v in zip(labels, values, strict=True)
    }, labels


@pytest.mark.parametrize("grades", [True, False], ids=["ties", "no ties"])
def test_the_auc_is_that_of_scikit_learn_for_all_and_each_flaw(grades):
    means, labels = judged(0.7, grades=grades)
    found = by_flaw(means, labels)
    assert list(found) == ["all", *sorted(FLAWS)]
    for name, one in found.items():
        rows = [row for row in labels if row["flaw"] in (None, name) or name == "all"]
        sound = [row["flaw"] is None for row in rows]
        expected = roc_auc_score(sound, [means[row["id"]] for row in rows])
        assert one["auc"] == pytest.approx(expected, abs=1e-4)
        assert (one["n_sound"], one["n_flawed"]) == (sum(sound), len(rows) - sum(sound))
        assert one["low"] < one["auc"] < one["high"]


def test_the_interval_covers_the_true_auc_as_often_as_it_says():
    from scipy.stats import norm

    true, inside = norm.cdf(0.7 / np.sqrt(2)), 0
    for seed in range(300):
        found = by_flaw(*judged(0.7, n=120, seed=seed, grades=False))["all"]
        inside += found["low"] <= true <= found["high"]
    assert 0.91 <= inside / 300 <= 0.985


def test_rows_without_a_score_do_not_count():
    means, labels = judged(1.0)
    for row in labels[:40]:
        means[row["id"]] = float("nan")
    del means[labels[40]["id"]]
    assert by_flaw(means, labels) == by_flaw(means, labels[41:])


@pytest.mark.parametrize("labels", [[], [{"id": "a", "flaw": None}], [{"id": "a", "flaw": "truncated"}] * 5])
def test_too_few_rows_give_nothing(labels):
    found = by_flaw({"a": 1.0}, labels)
    assert (found, line("rules", found), warning(found)) == ({}, "", "")


@pytest.mark.parametrize(
    ("shift", "said"), [(1.5, ""), (0.0, "are not shown to tell"), (-1.5, "prefer flawed rows")]
)
def test_a_judge_at_or_below_chance_is_named(shift, said):
    told = warning(by_flaw(*judged(shift)))
    assert told == "" if not said else said in told


def test_a_run_on_own_rows_records_and_prints_it(compose, tmp_path, capfd):
    told = (
        "Room {} has places for {} readers. They sit there and talk about their books. It is open every day."
    )
    rows = [{"prompt": f"What is room {n} for?", "completion": told.format(n, 3 * n)} for n in range(2, 80)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    chosen = ["data.flawed=0.3", "data.keep_rows=false", "until=score", f"paths.root={tmp_path / 'out'}"]
    config = parse(compose("+experiment=own_data", f"data.path={file}", *chosen))
    outcome = pipeline.run(config, Console())
    found = json.loads((outcome.folder / "result.json").read_text())["flaw_detection"]
    assert found["all"]["n_sound"] + found["all"]["n_flawed"] == len(rows)
    assert found["truncated"]["auc"] > 0.6
    show(outcome.result, Console())
    printed = " ".join(capfd.readouterr().err.split())
    assert "judge=rules scores a sound row above one with a known flaw in" in printed
    assert f"truncated {100 * found['truncated']['auc']:.1f}" in printed
