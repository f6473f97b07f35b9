"""Reading what a judge said: `gip-exp judge show`, and the page in the run folder."""

import io
import re
import shutil

import pytest

from gip_exp import judge, pipeline
from gip_exp.console import Console
from gip_exp.judgements import page, scored
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
