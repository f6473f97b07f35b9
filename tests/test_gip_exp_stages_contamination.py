"""Touched test questions are said and listed, results are given without them, and training rows can be left out."""

import io
import json

import pytest

from gip_exp import graph, pipeline
from gip_exp.cli.run import show
from gip_exp.config import parse
from gip_exp.console import Console
from gip_exp.errors import UserError
from gip_exp.evaluation import without_overlap
from gip_exp.storage.files import read_jsonl, write_jsonl
from gip_exp.storage.store import Entry

WORDS = "river stone market window garden bridge letter winter summer paper candle mirror button ladder basket".split()


def question(i):
    return f"How many {' '.join(WORDS[(i * k) % 15] + str(i + k) for k in range(1, 15))} are there in all?"


@pytest.fixture
def own(compose, tmp_path):
    """40 training rows, 6 test rows: the first stands in row 3, eight words of the second in row 7."""
    pool = [{"question": question(i), "answer": f"There are {i}."} for i in range(40)]
    test = [{"question": question(100 + i), "answer": f"There are {i}."} for i in range(6)]
    pool[3]["question"] = f"Please answer: {test[0]['question']}"
    pool[7]["question"] = f"{' '.join(test[1]['question'].split()[2:10])} and what else is there?"
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, rows in (("train", pool), ("test", test)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(*overrides):
        fixed = [
            f"data.path={folder}",
            f"paths.root={tmp_path / 'out'}",
            "selector=random",
            "budget=1.0",
            "target.n=0",
        ]
        said = io.StringIO()
        config = parse(compose("+experiment=own_data", *fixed, *overrides))
        return pipeline.run(config, Console(said)), said.getvalue()

    return run


def test_touched_questions_are_said_and_listed(own):
    outcome, said = own()
    found = outcome.result["contamination"]
    assert found["questions"] == {"8": 2, "13": 1}
    assert (found["n_test"], found["whole"], found["metrics_without"]) == (6, 0, {})
    assert "of 6 test questions, 2 share 8, 1 share 13 consecutive words with a training row" in said
    listed = read_jsonl(outcome.entries["contamination"].folder / "matches.jsonl")
    assert [(row["test"], row["row"], row["words"]) for row in listed] == [
        ("test-000000", "train-000003", 20),
        ("test-000001", "train-000007", 8),
    ]
    assert listed[0]["text"] == question(100).rstrip("?")


def test_rows_that_hold_test_questions_can_be_left_out(own):
    outcome, said = own("data.contaminated=drop")
    assert outcome.result["left_out"] == {"repeated": 0, "contaminated": 1}
    assert outcome.result["n_selected"] == 39
    assert outcome.result["contamination"]["questions"] == {"8": 1, "13": 0}
    assert "1 of 40 rows are left out: they share 13 words in a row with a test question" in said
    (row,) = read_jsonl(outcome.entries["data"].folder / "left_out.jsonl")
    assert (row["id"], row["why"], row["of"], row["words"]) == (
        "train-000003",
        "contaminated",
        "test-000000",
        20,
    )
    assert "train-000003" not in {row["id"] for row in read_jsonl(outcome.folder / "selected.jsonl")}


def evaluated(folder, name, outcomes):
    write_jsonl(
        folder / "predictions" / f"{name}.jsonl",
        [{"id": i, "value": value, "output": "", "reference": ""} for i, value in outcomes.items()],
    )
    value = sum(outcomes.values()) / len(outcomes)
    metric = {"value": value, "n": len(outcomes), "low": 0.0, "high": 1.0}
    return Entry(
        "evaluate", "k", folder, {"facts": {"metrics": {name: metric}}, "seconds": 0.0}, cached=False
    )


def test_metrics_are_given_without_the_touched_questions_beside_the_full_ones(own, tmp_path):
    outcome, _ = own()
    (tmp_path / "e" / "predictions" / "gsm8k").mkdir(parents=True)
    (tmp_path / "f" / "predictions" / "bbh").mkdir(parents=True)
    hits = {f"test-{i:06d}": float(i < 2) for i in range(6)}
    entries = {
        **outcome.entries,
        "evaluate/gsm8k": evaluated(tmp_path / "e", "gsm8k/exact_match", hits),
        "evaluate/bbh": evaluated(tmp_path / "f", "bbh/sports", {"bbh-1": 1.0}),
    }
    found = without_overlap.summary(entries)
    without = found["metrics_without"]
    assert without["8"]["gsm8k/exact_match"]["value"] == 0
    assert without["8"]["gsm8k/exact_match"]["n"] == 4
    assert without["13"]["gsm8k/exact_match"]["value"] == pytest.approx(1 / 5)
    assert set(without["8"]) == {"gsm8k/exact_match"}
    shown = io.StringIO()
    metrics = {"gsm8k/exact_match": {"value": 1 / 3, "n": 6, "low": 0.1, "high": None}}
    show({**outcome.result, "metrics": metrics, "contamination": found}, Console(shown))
    assert "without questions that share 13 words" in shown.getvalue()
    assert "0.2000" in shown.getvalue()


def test_a_pool_made_on_the_spot_has_no_such_stage(micro, shared_root):
    assert "contamination" not in graph.stages(micro(shared_root))
    with pytest.raises(UserError, match="until=contamination: the generated pool contains no test questions"):
        micro(shared_root, "until=contamination")
