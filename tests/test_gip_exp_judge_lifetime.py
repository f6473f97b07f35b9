"""Judges that end: warnings and refusals by the table of ends; the archive of replies, which scores without them."""

import datetime
import gzip
import io
import json
import re

import pytest

from gip_exp import pipeline, replies
from gip_exp.config import parse
from gip_exp.console import Console
from gip_exp.errors import UserError
from gip_exp.llm import archive
from gip_exp.llm.cache import Cache
from gip_exp.llm.errors import LLMError
from gip_exp.llm.request import Reply
from gip_exp.signals import lifetime
from selection.signals import read_signals
from tests.fault_server import FaultServer

KEY = "0123456789abcdef" * 2


@pytest.fixture(autouse=True)
def _no_key(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def on(monkeypatch):
    def at(day):
        monkeypatch.setattr(lifetime, "today", lambda: datetime.date.fromisoformat(day))

    return at


@pytest.fixture
def judge(compose):
    def made(*overrides):
        return parse(compose("+experiment=quickstart", "judge=openai", *overrides)).judge

    return made


@pytest.mark.parametrize(
    ("day", "said"),
    [("2026-10-11", ""), ("2026-10-12", "in 60 days"), ("2026-12-10", "in 1 days"), ("2026-12-11", "was switched off")],
)  # fmt: skip
def test_a_warning_comes_sixty_days_ahead(judge, on, day, said):
    on(day)
    found = lifetime.warnings([("judge", judge("judge.model=gpt-5-2025-08-07"))])
    assert len(found) == bool(said)
    assert said in "".join(found)


def test_after_the_end_the_judge_is_refused_with_what_is_possible_instead(judge, on):
    config = judge("judge.model=gpt-4o-2024-11-20")
    on("2027-01-13")
    assert lifetime.ended(config, "judge") == []
    on("2027-01-14")
    (problem,) = lifetime.ended(config, "judge")
    assert re.search(
        r"switched it off on 2027-01-14 \(https://developers.openai.com.*replies import FILE.*judge.offline=true.*"
        r"gpt-6-luna.*correct judge.ends",
        problem,
    )


def test_a_server_of_ones_own_and_unknown_models_have_no_end(judge, on):
    on("2030-01-01")
    for words in (["judge.base_url=http://127.0.0.1:1/v1"], ["judge.model=another"]):
        config = judge(*words)
        assert lifetime.ended(config, "judge") == lifetime.warnings([("judge", config)]) == []


def test_a_name_without_a_date_is_noted_with_the_dated_one(judge, on):
    on("2026-01-01")
    assert lifetime.notes(judge(), "judge", ["gpt-4o-2024-08-06"]) == []
    (note,) = lifetime.notes(judge("judge.model=gpt-4o"), "judge", ["gpt-4o-2024-11-20"])
    assert "is an alias" in note
    assert "judge.model=gpt-4o-2024-11-20 fixes it" in note


def test_an_end_that_is_no_date_is_an_error_that_names_its_key(compose):
    with pytest.raises(UserError, match=r"judge.ends.gpt-4o.date"):
        parse(compose("+experiment=quickstart", "judge=openai", "judge.ends.gpt-4o.date=soon"))


def test_scores_from_an_archive_without_the_api(compose, data_dir, tmp_path, capsys):
    def scores(root, *overrides):
        config = parse(
            compose("+experiment=gsm8k_cpu", f"data.path={data_dir}/gsm8k", f"paths.root={root}", "data.limit=20",
                    "until=select", "selector=top_score", "judge=openai", "judge.votes=2", *overrides)
        )  # fmt: skip
        outcome = pipeline.run(config, Console(io.StringIO()))
        return read_signals(outcome.entries["score"].folder / "scores.parquet").values

    with FaultServer(unreadable_share=0.1) as server:
        first = scores(tmp_path / "a", f"judge.base_url={server.url}", "judge.max_unscored=0.3")
    file = tmp_path / "replies.jsonl.gz"
    assert replies.main(["export", str(file), "--root", str(tmp_path / "a")]) == 0
    assert replies.main(["import", str(file), "--root", str(tmp_path / "b")]) == 0
    told = capsys.readouterr().out
    assert re.search(r"(\d+) replies exported .*\(\1 of judge\)", told)
    assert re.search(r"(\d+) of \1 replies imported", told)
    again = scores(tmp_path / "b", "judge.offline=true", "judge.max_unscored=0.3")
    assert again.tobytes() == first.tobytes()
    assert replies.main(["import", str(file), "--root", str(tmp_path / "b")]) == 0
    assert capsys.readouterr().out.startswith("0 of ")


def test_without_a_reply_an_offline_row_is_unscored_and_nothing_is_sent(compose, data_dir, tmp_path):
    config = parse(
        compose("+experiment=gsm8k_cpu", f"data.path={data_dir}/gsm8k", f"paths.root={tmp_path}", "data.limit=5",
                "until=select", "selector=top_score", "judge=openai", "judge.offline=true")
    )  # fmt: skip
    with pytest.raises(UserError, match="not in the reply cache, and nothing is sent"):
        pipeline.run(config, Console(io.StringIO()))


@pytest.fixture
def exported(tmp_path):
    with Cache(tmp_path / "llm_cache") as cache:
        for number in range(5):
            cache.put(f"{number:032x}", Reply("text", model="m" if number else "other"))
        cache.give_up({KEY: 3})
    file = tmp_path / "a.gz"
    archive.export(tmp_path / "llm_cache", file)
    return file


def test_an_archive_keeps_replies_and_marks_and_can_be_of_one_model(exported, tmp_path):
    assert archive.load(exported, tmp_path / "new").models == {"m": 4, "other": 1}
    with Cache(tmp_path / "new") as cache:
        assert cache.gave_up(KEY) == 3
        assert cache.get(f"{1:032x}") == Reply("text", model="m", cached=True)
    assert archive.export(tmp_path / "llm_cache", tmp_path / "m.gz", "m").replies == 4
    with pytest.raises(LLMError, match="has no replies of x"):
        archive.export(tmp_path / "llm_cache", tmp_path / "x.gz", "x")
    assert not (tmp_path / "x.gz").exists()


def test_a_damaged_archive_is_refused_whole(exported, tmp_path):
    whole = exported.read_bytes()
    lines = gzip.decompress(whole).splitlines()
    bad = {
        "cut": whole[: len(whole) // 2],
        "not packed": b"{}",
        "another file": gzip.compress(b'{"a": 1}\n'),
        "newer": gzip.compress(json.dumps({"format": archive.FORMAT, "version": 9}).encode()),
        "a line lost": gzip.compress(b"\n".join([*lines[:2], *lines[3:]])),
        "a line without text": gzip.compress(b"\n".join([lines[0], b'{"key": "1"}', *lines[2:]])),
    }
    for name, data in bad.items():
        exported.write_bytes(data)
        assert replies.main(["import", str(exported), "--root", str(tmp_path / "into")]) == 2, name
        assert not list((tmp_path / "into").rglob("*.jsonl")), name


def test_an_archive_never_holds_a_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-12345")
    with Cache(tmp_path / "llm_cache") as cache:
        cache.put(KEY, Reply("the key is sk-very-secret-12345"))
    with pytest.raises(LLMError, match="contains a secret"):
        archive.export(tmp_path / "llm_cache", tmp_path / "a.gz")
    assert not (tmp_path / "a.gz").exists()
