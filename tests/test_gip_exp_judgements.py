"""Reading what a judge said: `gip-exp judge show`, and the page in the run folder."""

import io
import json
import re
import shutil

import numpy as np
import pytest

from gip_exp import judge, pipeline
from gip_exp.console import Console
from gip_exp.errors import UserError
from gip_exp.judgements import page, scored
from gip_exp.signals import judge_sample
from gip_exp.storage.files import read_jsonl
from selection.signals import SignalTable, write_signals
from tests.provider_server import Provider, answer

HOSTILE = "<script>alert(1)</script> \x1b[2J & 'quoted'"
GRADES = '{{"accuracy": {0}, "reasoning": {0}, "clarity": {0}, "helpfulness": {0}, "difficulty": {1}}}'


def reply(body):
    """Grades by the text that is judged; about a sixth of the rows get none, with a hostile reason."""
    judged = body["messages"][1]["content"]
    digit = sum(map(ord, judged)) % 6
    return answer(HOSTILE if digit == 0 else GRADES.format(digit, 1 + len(judged) % 5))


@pytest.fixture(scope="module")
def run(micro, tmp_path_factory):
    root = tmp_path_factory.mktemp("judged")
    with Provider(reply) as server:
        config = micro(
            root,
            "judge=openai",
            "judge.model=j",
            f"judge.base_url={server.url}",
            "judge.max_unscored=1",
            "until=score",
            "data.n=140",
        )
        return pipeline.run(config, Console(io.StringIO())).folder


def shown(capsys, *arguments):
    code = judge.main(["show", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_best_worst_and_unscored_rows_with_the_reply_at_80_columns(run, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = shown(capsys, run)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert re.search(r"^j, rubric math: 140 rows, \d+ scored, \d+ unscored$", out, re.MULTILINE)
    best, worst = out.index("best by mean score"), out.index("worst by mean score")
    assert best < worst < out.index("\nunscored")
    means = [float(text) for text in re.findall(r"mean (\d\.\d\d): accuracy", out)]
    assert len(means) == 6
    assert means[:3] == sorted(means[:3], reverse=True)
    assert means[3:] == sorted(means[3:])
    assert min(means[:3]) > max(means[3:])
    assert "Read as: accuracy 5" in out
    assert "unscored: 3 unreadable replies, the last: no JSON object" in " ".join(out.split())
    assert "\x1b" not in out
    assert r"\x1b[2J" in out


def test_one_row_in_full_and_the_order_by_one_attribute(run, capsys):
    judged = scored.of_run(run)
    row = judged.ranked()[0]
    code, out, _ = shown(capsys, run, "--row", judged.table.ids[row])
    assert code == 0
    words = " ".join(out.split())
    assert " ".join(judged.pool[row]["completion"].split()) in words
    assert words.count("reply, vote 1, attempt 1 (100 + 20 tokens)") == 1
    _, out, _ = shown(capsys, run, "--best", "--attribute", "difficulty", "--limit", 5)
    levels = [int(text) for text in re.findall(r"mean .*difficulty (\d)", out)]
    top = sorted(judged.table.column("difficulty")[judged.table.scored], reverse=True)[:5]
    assert levels == top


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--row", "nobody"], "no row has this id; ids look like"),
        (["--attribute", "beauty"], "the scores have accuracy, reasoning"),
        (["--html", "/no/such/folder/page.html"], "cannot be written"),
    ],
)
def test_what_does_not_exist_is_one_message(run, capsys, arguments, said):
    code, _, err = shown(capsys, run, *arguments)
    assert code == 2
    assert said in err


def test_a_folder_that_is_no_run_and_a_run_without_scores(run, tmp_path, capsys):
    code, _, err = shown(capsys, tmp_path)
    assert (code, "is not the folder of a finished run" in err) == (2, True)
    copy = shutil.copytree(run, tmp_path / "a" / "b" / "c" / "d")  # its config still names the root
    assert shown(capsys, copy)[0] == 0
    root = shutil.copytree(run.parents[2], tmp_path / "root", ignore=shutil.ignore_patterns("scores.parquet"))
    code, _, err = shown(capsys, root / run.relative_to(run.parents[2]))
    assert (code, "scores.parquet is gone; run it again" in err) == (2, True)


def test_the_page_is_in_the_run_folder_escaped_bounded_and_without_network(run, capsys, tmp_path):
    text = (run / page.PAGE).read_text()
    judged = scored.of_run(run)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
    assert not re.search(r"(src|href)=\"(?!#)", text)
    assert "prefers-color-scheme: dark" in text
    titles = re.findall(r"<h2[^>]*>([^<]*)", text)
    assert [title.split(" (")[0] for title in titles] == [
        "Best rows by mean score",
        "Worst rows by mean score, worst first",
        "Unscored rows",
        "Random rows of those between, best first",
    ]
    ids = re.findall(r"<h3>([^<]*)", text)
    assert len(ids) == len(set(ids)) == 2 * page.EDGE + page.SAMPLE + min(page.EDGE, len(judged.unscored))
    code, _, _ = shown(capsys, run, "--html", tmp_path / "again.html")
    assert code == 0
    assert (tmp_path / "again.html").read_text() == text


def test_long_texts_are_cut_and_the_rest_is_counted(run, monkeypatch):
    judged = scored.of_run(run)
    monkeypatch.setattr(page, "MOST_CHARACTERS", 10)
    assert re.search(r"\.\.\. \d+ more characters", page.render(judged))


def test_scores_are_shown_without_the_reply_cache_and_that_is_said(run, tmp_path, capsys):
    root = shutil.copytree(run.parents[2], tmp_path / "root")
    shutil.rmtree(root / "llm_cache")
    moved = root / run.relative_to(run.parents[2])
    code, out, _ = shown(capsys, moved)
    assert code == 0
    assert "no replies: the reply cache" in out
    assert "Read as" not in out


def test_a_function_as_judge_has_scores_and_no_replies(micro, tmp_path, capsys):
    done = pipeline.run(micro(tmp_path, "until=score", "data.n=60"), Console(io.StringIO()))
    assert not (done.folder / page.PAGE).exists()
    code, out, _ = shown(capsys, done.folder, "--best")
    assert code == 0
    assert "no replies: the judge is a function" in out


@pytest.fixture(scope="module")
def judges(micro, tmp_path_factory):
    """Judge A, a judge one point milder with a few large changes, and A asked once more."""
    root = tmp_path_factory.mktemp("two")

    def graded(shift):
        def reply(body):
            judged = body["messages"][1]["content"]
            digit = 1 + sum(map(ord, judged)) % 4 + shift
            return answer(GRADES.format(digit, digit if shift == 0 or len(judged) % 10 else 1))

        return reply

    def run(name, shift, *overrides):
        with Provider(graded(shift)) as server:
            config = micro(
                root, "judge=openai", f"judge.model={name}", f"judge.base_url={server.url}", *overrides
            )
            return pipeline.run(config, Console(io.StringIO())).folder, len(server.bodies)

    common = ("selector=top_score", "until=select")
    return {
        "a": run("a", 0, *common),
        "b": run("b", 1, *common),
        "again": run("a", 0, *common, "judge.repeat=1"),
        "sample": run("a", 0, "judge.sample=50", "until=score"),
    }


def compared(capsys, *arguments):
    assert judge.main(["compare", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_two_judges_agree_in_rank_and_differ_by_their_bias(judges, capsys):
    found = json.loads(compared(capsys, judges["a"][0], judges["b"][0], "--json"))
    by_name = {one["name"]: one for one in found["agreements"]}
    clear = by_name["clarity"]
    assert (clear["spearman"], clear["equal"], clear["far"], clear["bias"]) == (pytest.approx(1), 0, 0, 1)
    a, b = (scored.of_run(judges[name][0]).table.column("clarity") for name in "ab")
    assert clear["kappa"] == pytest.approx(quadratic_kappa(a, b))
    assert by_name["difficulty"]["far"] > 0
    assert by_name["difficulty"]["bias"] < 1
    assert by_name["mean"]["kappa"] is None
    chosen = [{row["id"] for row in read_jsonl(judges[name][0] / "selected.jsonl")} for name in "ab"]
    selected = found["picks"][0]
    assert selected["what"] == "selected by top_score at 0.1"
    assert (selected["n"], selected["both"]) == (len(chosen[0]), len(chosen[0] & chosen[1]))


def quadratic_kappa(a, b):
    """By its definition: 1 - observed over expected squared distance, of every pair of an a with a b."""
    return 1 - np.mean((a - b) ** 2) / np.mean((a[:, None] - b[None, :]) ** 2)


def test_the_same_judge_twice_is_asked_twice_and_compared(judges, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert judges["a"][1] == judges["again"][1] > 0
    out = compared(capsys, judges["a"][0], judges["again"][0])
    assert max(map(len, out.splitlines())) <= 80
    assert re.search(r"clarity +1\.000 +1\.000 +100\.0% +0\.0% +\d\.\d\d +\+0\.00", out)
    assert re.search(r"selected by top_score at 0\.1: (\d+) of \1 picks in common \(100%", out)
    assert "changed most" not in out


def test_a_table_of_scores_can_be_compared_and_a_stopped_run_has_no_picks(judges, capsys):
    folder = judges["b"][0]
    key = json.loads((folder / "result.json").read_text())["stages"]["score"]["key"]
    table = folder.parents[2] / "store" / "score" / key / "scores.parquet"
    out = " ".join(compared(capsys, judges["a"][0], table).split())
    assert "selections: not compared, a table of scores has none" in out
    assert re.search(r"best 10% by the mean score, ties at random: \d+ of \d+ picks in common", out)
    out = " ".join(compared(capsys, judges["sample"][0], judges["b"][0]).split())
    assert "50 rows are scored by both; 0 by A alone, 190 by B alone" in out
    assert "stopped before it selected" in out


def test_judges_of_other_pools_or_attributes_are_not_compared(judges, tmp_path, capsys):
    one, other = tmp_path / "one.parquet", tmp_path / "other.parquet"
    write_signals(SignalTable(("x", "y"), ("accuracy",), np.ones((2, 1))), one)
    write_signals(SignalTable(("x", "y"), ("beauty",), np.ones((2, 1))), other)
    for first, second, said in (
        (judges["a"][0], one, "no row id in common"),
        (one, other, "no attribute in common"),
        (one, tmp_path / "nothing", "neither a run folder nor a table of scores"),
    ):
        assert judge.main(["compare", str(first), str(second)]) == 2
        assert said in " ".join(capsys.readouterr().err.split())


def test_only_a_seeded_sample_is_judged_and_the_whole_is_priced(micro, tmp_path):
    said = io.StringIO()
    with Provider(lambda _: answer(GRADES.format(3, 3))) as server:
        asked = ["judge=openai", "judge.model=gpt-5", f"judge.base_url={server.url}", "judge.sample=50"]
        done = pipeline.run(micro(tmp_path, *asked, "until=score"), Console(said))
        sent = len(server.bodies)
        whole = pipeline.run(micro(tmp_path, *asked[:-1], "until=score"), Console(io.StringIO()))
        assert (sent, len(server.bodies)) == (50, 240)  # the sample's replies are not bought again
    judged = scored.of_run(done.folder)
    assert (int(judged.table.scored.sum()), judged.unscored, judged.n_not_judged) == (50, [], 190)
    assert scored.of_run(whole.folder).n_not_judged == 0
    told = " ".join(said.getvalue().split())
    assert "the whole pool, 240 examples: 190 calls to make, 50 answered by the cache" in told
    assert (
        "by the cost of the sample (0.00033 USD a row) about 0.06 USD" in told
    )  # (100 x 1.25 + 20 x 10) / 1e6
    assert "only 50 of 240 rows are judged (judge.sample=50, seed=0)" in told


@pytest.mark.parametrize("until", ["select", "rank", "null"])
def test_nothing_is_selected_from_a_sample(micro, tmp_path, until):
    config = micro(
        tmp_path, "judge=openai", "judge.sample=50", "judge.base_url=http://127.0.0.1:9/v1", f"until={until}"
    )
    with pytest.raises(UserError, match=r"judge.sample=50: a part of the pool is judged.*until=score"):
        pipeline.run(config, Console(io.StringIO()))


def test_a_smaller_sample_is_part_of_a_larger_one(micro, tmp_path):
    def drawn(size):
        return set(judge_sample.rows(micro(tmp_path, "judge=openai", f"judge.sample={size}"), 240).tolist())

    assert drawn(20) < drawn(100)
    assert judge_sample.rows(micro(tmp_path, "judge=openai", "judge.sample=240"), 240) is None
