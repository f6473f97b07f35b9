"""Known flaws in real rows: the asked share, in the answers only, labelled, and of the announced kind."""

import json
import random
import re
from collections import Counter

import pytest

from gip_exp import pipeline
from gip_exp.config import parse
from gip_exp.console import Console
from gip_exp.data.flaws import flawed_pool, truncated, wrong_arithmetic
from gip_exp.data.load import EXAMPLE
from gip_exp.errors import UserError
from gip_exp.signals.rules.math_answers import judge
from gip_exp.storage.files import read_jsonl
from gip_exp.storage.row_table import collected


def worked(number):
    """A row in GSM8K's format with two calculations of its own."""
    first, second = 2 * (number + 3), 2 * (number + 3) + 5
    answer = f"Ann has 2*{number + 3} = <<2*{number + 3}={first}>>{first} pens.\n"
    answer += f"With 5 more she has {first}+5 = <<{first}+5={second}>>{second} pens.\n#### {second}"
    prompt = f"Ann has 2 boxes of {number + 3} pens and 5 more. How many pens has she?"
    return {"id": f"train-{number:06d}", "prompt": prompt, "completion": answer}


ROWS = [worked(number) for number in range(120)]
POOL = collected(ROWS, *EXAMPLE)


def flawed(share=1 / 3, seed=0, rows=POOL):
    pool, labels = flawed_pool(rows, share, seed)
    return list(pool), {label["id"]: label["flaw"] for label in labels}


def test_the_asked_share_is_flawed_and_labelled_and_nothing_else_changes():
    pool, labels = flawed()
    assert sum(flaw is not None for flaw in labels.values()) == 40
    for before, after in zip(ROWS, pool, strict=True):
        assert (after["completion"] != before["completion"]) == (labels[after["id"]] is not None)
        assert {**after, "completion": ""} == {**before, "completion": ""}


def test_every_kind_of_flaw_is_made_and_is_what_its_name_says():
    pool, labels = flawed(0.9)
    counts = Counter(labels.values())
    assert all(counts[name] > 20 for name in ("wrong_arithmetic", "truncated", "other_problem")), counts
    originals = {row["completion"] for row in ROWS}
    for before, after in zip(ROWS, pool, strict=True):
        answer, flaw = after["completion"], labels[after["id"]]
        if flaw == "truncated":
            assert before["completion"].startswith(answer)
            assert "####" not in answer
        if flaw == "other_problem":
            assert answer in originals
        if flaw == "wrong_arithmetic":
            assert answer not in originals
            assert answer.rpartition("####")[2] != before["completion"].rpartition("####")[2]


def test_an_answer_in_a_script_without_spaces_is_cut_too():
    answer = "熊猫是中国特有的动物，主要吃竹子，生活在山里。"
    for seed in range(20):
        cut = truncated(answer, random.Random(seed))
        assert answer.startswith(cut)
        assert 0 < len(cut) < len(answer)


def test_one_calculation_is_wrong_and_what_follows_is_calculated_from_it():
    for seed in range(20):
        answer = wrong_arithmetic(ROWS[10]["completion"], random.Random(seed))
        assert judge(ROWS[10]["prompt"], answer)[1] == 0.5  # the share of right marks, of two
        last = re.findall(r"=(\d+)>>", answer)[-1]
        assert answer.endswith(f">>{last} pens.\n#### {last}")


def test_what_cannot_be_flawed_is_said():
    assert wrong_arithmetic("She has seven pens.", random.Random(0)) is None
    assert wrong_arithmetic("x is <<y=3 apples>>3", random.Random(0)) is None
    assert truncated("Seven", random.Random(0)) is None
    turns = [{"role": "user", "content": "?"}]
    talk = collected([{**row, "turns": turns} for row in ROWS], *EXAMPLE)
    with pytest.raises(UserError, match="0 are a question with a plain answer"):
        flawed(rows=talk)
    same = collected([{**row, "completion": "Yes"} for row in ROWS], *EXAMPLE)
    with pytest.raises(UserError, match="all answers of the rows are the same"):
        flawed(rows=same)


def test_seeds_choose_rows_and_repeat():
    assert flawed(seed=1) == flawed(seed=1)
    assert flawed(seed=1)[1] != flawed(seed=2)[1]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    for name, rows in (("train", ROWS), ("test", ROWS[:4])):
        lines = [json.dumps({"question": f"{name} {r['prompt']}", "answer": r["completion"]}) for r in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def selected(compose, files, root, *overrides):
    chosen = ["+experiment=gsm8k_cpu", f"data.path={files}", f"paths.root={root}", "until=select", *overrides]
    return pipeline.run(parse(compose(*chosen)), Console())


def test_a_run_reports_the_clean_share_and_no_selector_sees_the_labels(compose, files, tmp_path):
    done = selected(compose, files, tmp_path, "data.flawed=0.3", "selector=full", "target.n=10")
    labels = read_jsonl(done.entries["data"].folder / "labels.jsonl")
    chosen = {row["id"] for row in read_jsonl(done.folder / "selected.jsonl")}
    sound = [label["flaw"] is None for label in labels if label["id"] in chosen]
    assert done.result["subset"] == {"clean_share": round(sum(sound) / len(chosen), 4)}
    assert sum(label["flaw"] is not None for label in labels) == 36
    assert any("36 of 120 rows were made flawed (data.flawed=0.3)" in n for n in done.entries["data"].notes)
    assert "flaw" not in json.dumps([row["completion"] for row in read_jsonl(done.folder / "selected.jsonl")])
    tests = read_jsonl(done.entries["data"].folder / "test.jsonl")
    assert [row["completion"] for row in tests] == [row["completion"] for row in ROWS[:4]]


def test_without_the_option_nothing_is_labelled(compose, files, tmp_path):
    done = selected(compose, files, tmp_path, "selector=random")
    assert not (done.entries["data"].folder / "labels.jsonl").exists()
    assert done.result["subset"] == {}


def test_kept_rows_would_be_the_sound_ones(compose, files, tmp_path):
    with pytest.raises(UserError, match=r"data\.flawed changes the rows of the pool, and data\.keep_rows"):
        selected(compose, files, tmp_path, "data.flawed=0.3", "+data.keep_rows=true")
