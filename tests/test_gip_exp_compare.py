"""`gip-exp compare`: sample files of lm-eval and run folders."""

import json

import pytest

from gip_exp.compare import main, read
from tests.report_runs import GSM8K, write_run


def samples(path, outcomes, *, filters=("none",), metric="exact_match", target="t", start=0):
    lines = [
        {
            "doc_id": start + i,
            "target": f"{target} {start + i}",
            "target_hash": f"{target}{start + i}",
            "filter": name,
            "metrics": [metric],
            metric: outcome,
            "resps": [["a reply"]],
        }
        for name in filters
        for i, outcome in enumerate(outcomes)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def said(capsys, *arguments):
    code = main(list(arguments))
    out, err = capsys.readouterr()
    return code, " ".join((out + err).replace("│", " ").split())


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")


def test_two_sample_files_are_compared_question_by_question(tmp_path, capsys):
    a = samples(tmp_path / "a.jsonl", [1.0] * 150 + [0.0] * 150)
    b = samples(tmp_path / "b.jsonl", [0.0] + [1.0] * 150 + [0.0] * 149)
    code, text = said(capsys, a, b)
    assert code == 0
    assert "questions 300 A 0.5000 B 0.5000 A - B +0.0000 95 % -0.0093 to +0.0093" in text
    assert "verdict equivalent only A 1 only B 1" in text


def test_a_clear_difference_is_called_one(tmp_path, capsys):
    a = samples(tmp_path / "a.jsonl", [1] * 80 + [0] * 20)
    b = samples(tmp_path / "b.jsonl", [1] * 40 + [0] * 60)
    code, text = said(capsys, a, b)
    assert (code, "different" in text) == (0, True)
    few = samples(tmp_path / "c.jsonl", [1] * 78 + [0] * 22)
    assert "undecided" in said(capsys, a, few)[1]


def test_each_filter_is_a_metric_and_lines_without_a_list_of_metrics_are_read(tmp_path, capsys):
    path = tmp_path / "a.jsonl"
    samples(path, [1, 0, 1], filters=("strict-match", "flexible-extract"))
    assert list(read(path)) == ["exact_match,strict-match", "exact_match,flexible-extract"]
    path.write_text(
        "".join(
            json.dumps({"doc_id": i, "target": "x", "acc": 1.0, "acc_norm": 0.0}) + "\n" for i in range(3)
        )
    )
    assert list(read(path)) == ["acc", "acc_norm"]


def test_run_folders_are_compared_as_well(tmp_path, capsys):
    a = write_run(tmp_path, "mp_ma", values={GSM8K: [1, 0] * 30})
    b = write_run(tmp_path, "random", values={GSM8K: [1, 1] + [1, 0] * 29})
    code, text = said(capsys, str(a), str(b), "--margin", "0.2")
    assert code == 0
    assert "gsm8k/exact_match" in text
    assert "equivalent" in text


def test_questions_of_one_side_only_are_counted_and_left_out(tmp_path, capsys):
    a = samples(tmp_path / "a.jsonl", [1, 0] * 20)
    b = samples(tmp_path / "b.jsonl", [1, 0] * 20, start=4)
    assert "8 questions are only in one of A and B" in said(capsys, a, b)[1]


def test_what_cannot_be_compared_is_one_message(tmp_path, capsys):
    a = samples(tmp_path / "a.jsonl", [1, 0, 1])
    other = samples(tmp_path / "b.jsonl", [1, 0, 1], target="u")
    graded = samples(tmp_path / "c.jsonl", [7.0, 8.0], metric="rating")
    broken = tmp_path / "d.jsonl"
    broken.write_text("no json\n")
    twice = samples(tmp_path / "e.jsonl", [1, 0], filters=("none", "none"))
    cases = [
        ((a, other), "3 of 3 questions have another answer in B"),
        ((a, graded), "no metric to compare"),
        ((graded, graded), "give --margin"),
        ((a, a, "--metric", "acc"), "no metric to compare (--metric acc)"),
        ((a, a, "--margin", "-1"), "margin=-1.0"),
        ((a, str(broken)), "is not JSON lines"),
        ((a, twice), "has doc_id 0 twice"),
        ((a, str(tmp_path / "none")), "does not exist"),
        ((a, str(tmp_path)), "has no predictions"),
    ]
    for arguments, message in cases:
        code, text = said(capsys, *arguments)
        assert (code, message in text) == (2, True), (message, text)
