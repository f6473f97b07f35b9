"""How providers really answer: what is paid for is counted and kept, and an error says what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gip_exp.llm.client import ask_all
from gip_exp.llm.envelope import read_envelope
from gip_exp.llm.errors import LLMError, TooManyUnscoredError
from gip_exp.llm.faults import read_error, status_fault, wait_s
from gip_exp.llm.job import Job
from gip_exp.llm.judge import judge_pool, read_reply
from gip_exp.llm.judge_table import JudgeSettings, JudgeTable
from gip_exp.llm.prices import Price
from gip_exp.llm.request import Fault, Reply, Request
from gip_exp.llm.settings import EndpointSettings, Sampling
from tests.provider_server import Answer, Provider, TokenLimit, answer, error
from tests.test_gip_exp_llm_judge import NAMES, RUBRIC

GRADES = json.dumps(dict.fromkeys(NAMES, 3))
PRICES = {"judge": Price(10.0, 100.0)}  # a usual answer: 100 + 20 tokens = 0.003 USD


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(answer(GRADES)) as running:
        yield running


def endpoint(provider: Provider, **changes: Any) -> EndpointSettings:
    usual = EndpointSettings(
        "judge", base_url=provider.url, concurrency=4, timeout_s=20, backoff_s=0.01, backoff_max_s=0.02
    )
    return replace(usual, **changes)


def judged(provider: Provider, cache: Path, n: int = 4, unscored: float = 1.0, **changes: Any) -> JudgeTable:
    rows = [{"id": f"e{i}", "prompt": f"question {i}", "completion": "c"} for i in range(n)]
    settings = JudgeSettings(endpoint(provider, **changes), max_unscored=unscored)
    return judge_pool(rows, RUBRIC, settings, cache_dir=cache)


def questions(n: int) -> list[Request]:
    return [Request(messages=({"role": "user", "content": f"question {i}"},)) for i in range(n)]


BLOCKS = [
    {"type": "thinking", "thinking": [{"type": "text", "text": '{"accuracy": 1}'}]},
    {"type": "text", "text": GRADES},
]
CALL = [{"type": "function", "function": {"name": "grades", "arguments": GRADES}}]


@pytest.mark.parametrize(
    "said",
    [answer(BLOCKS), answer(None, tool_calls=CALL), answer("", tool_calls=CALL), answer(GRADES, finish="eos"),
     answer(GRADES, finish="eos_token"), answer(GRADES, reasoning_content='{"accuracy": 1}')],
)  # fmt: skip
def test_the_text_is_found_in_the_shapes_in_use(provider: Provider, tmp_path: Path, said: Answer) -> None:
    provider.reply = said
    table = judged(provider, tmp_path)
    assert (table.scores == 3).all()
    assert table.stats.requests == 4


@pytest.mark.parametrize(
    "said",
    [answer(None, reasoning_content="I think"), answer([{"type": "thinking", "thinking": "hm"}]), answer(7),
     Answer(200, {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20}})],
)  # fmt: skip
def test_a_paid_reply_without_text_is_counted_kept_and_not_a_score(
    provider: Provider, tmp_path: Path, said: Answer
) -> None:
    provider.reply = said
    table = judged(provider, tmp_path, prices=PRICES)
    assert table.n_unscored == 4
    assert table.stats.requests == table.stats.unreadable == len(provider.bodies) == 12  # not six times each
    assert table.stats.spent_usd == pytest.approx(12 * 0.003)
    outcomes, stats = ask_all(questions(2), endpoint(provider, prices=PRICES), cache_dir=tmp_path)
    assert [type(one) for one in outcomes] == [Fault, Fault]
    assert stats.spent_usd == pytest.approx(0.006)


def test_reasoning_that_only_the_total_counts_is_billed(provider: Provider, tmp_path: Path) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 1120}
    provider.reply = answer(GRADES, usage=usage)
    _, stats = ask_all(questions(3), endpoint(provider, prices=PRICES), cache_dir=tmp_path)
    assert stats.completion_tokens == 3 * 1020
    assert stats.spent_usd == pytest.approx(3 * 0.103)
    limited = endpoint(provider, prices=PRICES, max_cost_usd=0.4, concurrency=64)
    with pytest.raises(LLMError, match=r"max_cost_usd=0.4 would be exceeded"):
        ask_all(questions(60), limited, cache_dir=tmp_path / "other")
    assert (len(provider.bodies) - 3) * 0.103 <= 0.4


def test_all_calls_of_a_job_share_one_limit(provider: Provider, tmp_path: Path) -> None:
    job, settings = Job(0.2), endpoint(provider, prices=PRICES, max_cost_usd=0.2)
    small = Sampling(max_tokens=20)

    def repeats() -> None:
        for repeat in range(100):
            asked = [replace(one, repetition=repeat, sampling=small) for one in questions(4)]
            ask_all(asked, settings, cache_dir=tmp_path, job=job)

    with pytest.raises(LLMError, match=r"max_cost_usd=0.2 would be exceeded"):
        repeats()
    assert 0.15 < len(provider.bodies) * 0.003 <= 0.2
    assert job.stats.spent_usd == pytest.approx(len(provider.bodies) * 0.003)


@pytest.mark.parametrize(
    ("raw", "message"),
    [([{"error": {"code": 400, "message": "API key not valid", "status": "INVALID"}}], "API key not valid"),
     ({"detail": "Not enough context"}, "Not enough context"), ({"error": "model overloaded"}, "model overloaded"),
     ({"detail": [{"loc": ["body", "seed"], "msg": "not permitted"}]}, "not permitted (body.seed)"),
     ({"object": "error", "message": "too long"}, "too long"), ("upstream says no", "upstream says no"),
     ({"error": {"message": "Provider error", "metadata": {"raw": "bad schema"}}}, "Provider error bad schema")],
)  # fmt: skip
def test_the_cause_is_read_from_every_form_of_an_error(raw: Any, message: str) -> None:
    data = raw.encode() if isinstance(raw, str) else json.dumps(raw).encode()
    assert read_error(data).message == message


def fault(status: int, body: Any, **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status_fault(
        status, named, json.dumps(body).encode(), clean=str, remedies=dict.fromkeys((401, 403, 404), "check")
    )


QUOTA = "You exceeded your current quota, please check your plan and billing details"


def test_a_spent_quota_and_a_limit_a_minute_are_told_apart() -> None:
    assert fault(429, {"error": {"message": QUOTA, "code": "insufficient_quota"}}, retry_after="20").fatal
    assert fault(429, {"error": {"message": QUOTA}}).fatal
    assert fault(402, {"error": {"message": "Insufficient Balance"}}).fatal
    assert fault(403, {"error": {"message": "x", "type": "insufficient_balance"}}).fatal
    delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
    minute = fault(429, [{"error": {"code": 429, "message": QUOTA, "details": [delay]}}])
    assert (minute.held_back, minute.fatal, minute.retry_after_s) == (True, False, 34.0)
    assert fault(429, {"error": {"message": QUOTA}}, retry_after="5").held_back
    large = fault(429, {"error": {"message": "Request too large: Limit 30000, Requested 40,000."}})
    assert not large.retry


@pytest.mark.parametrize(
    ("headers", "text", "seconds"),
    [({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, "", 360.0),
     ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, "", 0.12),
     ({"x-ratelimit-remaining-tokens": "9000", "x-ratelimit-reset-tokens": "1h"}, "", None),
     ({}, "Please try again in 2.5s. Visit", 2.5), ({}, "try again in 7m12s", 432.0), ({}, "retry after 3 seconds", 3.0)],
)  # fmt: skip
def test_the_wait_is_read_from_headers_and_words(headers: dict[str, str], text: str, seconds: float) -> None:
    assert wait_s(headers, text.encode()) == seconds


@pytest.mark.parametrize("kind", ["ms", "words", "none"])
def test_a_limit_in_tokens_a_minute_loses_no_row(provider: Provider, tmp_path: Path, kind: str) -> None:
    headers = (lambda s: {"retry-after-ms": str(int(1000 * s) + 1)}) if kind == "ms" else lambda _: {}
    limit = TokenLimit(60_000, 1000, lambda _: answer(GRADES), headers)
    limit.level = limit.size = 8000  # of one second
    limit.rate = 20_000.0
    said: Any = limit
    if kind == "words":

        def said(body: Any) -> Answer:
            one = limit(body)
            return error(429, "Limit reached. Please try again in 60ms.") if one.status == 429 else one

    provider.reply = said
    table = judged(provider, tmp_path, n=40, unscored=0.0, concurrency=32, backoff_max_s=0.2)
    assert (table.n_unscored, table.stats.replies, table.stats.retries) == (0, 40, 0)
    assert limit.refused == table.stats.faults["http 429"] > 0


def test_a_server_for_one_request_at_a_time_loses_no_row(provider: Provider, tmp_path: Path) -> None:
    import threading
    import time

    slot = threading.Lock()

    def slow(_: Any) -> Answer:
        with slot:
            time.sleep(0.05)
        return answer(GRADES)

    provider.reply = slow
    table = judged(provider, tmp_path, n=20, unscored=0.0, concurrency=16, timeout_s=0.4)
    assert table.n_unscored == 0


def refuses(names: Any, message: str = "Invalid request") -> Any:
    """Return a server that refuses bodies for which `names(body)` holds."""
    return lambda body: error(400, message) if names(body) else answer(GRADES)


def form(body: dict[str, Any]) -> str:
    return body.get("response_format", {"type": "none"})["type"]


@pytest.mark.parametrize(("accepted", "most"), [(("json_object", "none"), 3), (("none",), 4)])
def test_an_endpoint_without_schemas_is_asked_without_whatever_it_says(
    provider: Provider, tmp_path: Path, accepted: tuple[str, ...], most: int
) -> None:
    provider.reply = refuses(lambda body: form(body) not in accepted)
    table = judged(provider, tmp_path, n=10, unscored=0.0, concurrency=1)
    assert table.stats.replies == 10
    assert table.stats.faults["adapted"] < most
    assert form(provider.bodies[-1]) == accepted[0]
    assert any("form of the reply" in note for note in table.stats.notes)


def test_integer_enums_go_where_they_are_refused(provider: Provider, tmp_path: Path) -> None:
    provider.reply = refuses(
        lambda body: "enum" in json.dumps(body.get("response_format")), "Invalid enum[0]: 1"
    )
    table = judged(provider, tmp_path, unscored=0.0, concurrency=1)
    assert form(provider.bodies[-1]) == "json_schema"
    assert table.stats.faults["adapted"] == 1


def test_a_row_that_quotes_a_complaint_turns_nothing_off(provider: Provider, tmp_path: Path) -> None:
    flagged = "Invalid prompt: 'unsupported temperature, response_format' question 1"
    provider.reply = refuses(lambda body: "question 1\n" in json.dumps(body).replace("\\n", "\n"), flagged)
    table = judged(provider, tmp_path, n=8, concurrency=1)
    assert table.n_unscored == 1
    assert "Invalid prompt" in table.unscored[0].reason
    others = [body for body in provider.bodies if "question 1\\n" not in json.dumps(body)]
    assert all("temperature" in body and form(body) == "json_schema" for body in others)
    assert table.stats.notes == []


def test_one_flagged_row_is_not_the_account(provider: Provider, tmp_path: Path) -> None:
    flagged = error(403, "Your request was flagged")
    text = "question 1\\n"
    provider.reply = lambda body: flagged if text in json.dumps(body) else answer(GRADES)
    table = judged(provider, tmp_path, n=12)
    assert [(one.id, "flagged" in one.reason) for one in table.unscored] == [("e1", True)]
    provider.reply = flagged
    with pytest.raises(LLMError, match=r"flagged .*check the key.*5 requests in a row"):
        judged(provider, tmp_path / "other", n=100)
    assert len(provider.bodies) < 30


def test_rows_that_the_endpoint_never_answers_are_counted_also_when_only_they_are_left(
    provider: Provider, tmp_path: Path
) -> None:
    lost = ("question 1\\n", "question 4\\n", "question 5\\n")
    provider.reply = lambda body: (
        error(500) if any(text in json.dumps(body) for text in lost) else answer(GRADES)
    )
    for _ in range(2):  # the second time, everything else is in the cache
        table = judged(provider, tmp_path, n=8, concurrency=2)
        assert [row.id for row in table.unscored] == ["e1", "e4", "e5"]
        assert all("after 6 attempts, the last: http 500" in row.reason for row in table.unscored)
    provider.reply = error(500)
    with pytest.raises(LLMError, match="Check that"):  # an endpoint that never answered is down
        judged(provider, tmp_path / "empty", n=3, concurrency=2)


def test_another_model_under_the_same_name_is_an_error(provider: Provider, tmp_path: Path) -> None:
    judged(provider, tmp_path, n=4)
    provider.reply = answer(GRADES, model="judge-2")
    with pytest.raises(LLMError, match=r"answered by more than one model .*judge-2.*mixed_models=true"):
        judged(provider, tmp_path, n=12)
    table = judged(provider, tmp_path, n=12, mixed_models=True)
    assert set(table.stats.as_dict()["models"]) == {"judge", "judge-2"}


def test_an_address_in_the_environment_is_refused(
    provider: Provider, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-something")
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    with pytest.raises(LLMError, match=r"OPENAI_BASE_URL is set.*base_url, or unset"):
        ask_all(questions(1), EndpointSettings("gpt-4o"), cache_dir=tmp_path)


def test_a_foreign_page_is_shown_by_its_beginning(provider: Provider, tmp_path: Path) -> None:
    provider.reply = Answer(200, b"<html>Sign in to the wireless network</html>")
    with pytest.raises((TooManyUnscoredError, LLMError), match="Sign in to the wireless network"):
        judged(provider, tmp_path, n=2, unscored=0.0)


def mutations() -> list[Any]:
    """Return bodies of responses with fields missing, null, of other types, doubled or huge."""
    odd = [None, 0, -1, 1.5, True, "x", [], {}, [None], [[]], {"a": 1}, "y" * 100_000, 10**30]
    whole = answer(GRADES).body
    found: list[Any] = []
    for path in (("choices",), ("usage",), ("model",), ("choices", 0), ("choices", 0, "message"), ("choices", 0, "finish_reason"),
                 ("choices", 0, "message", "content"), ("usage", "prompt_tokens"), ("usage", "total_tokens")):  # fmt: skip
        for value in odd:
            copy: Any = json.loads(json.dumps(whole))
            inner = copy
            for name in path[:-1]:
                inner = inner[name]
            inner[path[-1]] = value
            found.append(copy)
    return found


def test_mutated_answers_are_replies_or_faults_and_never_a_false_score() -> None:
    request = Request(messages=({"role": "user", "content": "q"},))
    bodies = mutations()
    assert len(bodies) > 100
    for body in bodies:
        outcome = read_envelope(json.dumps(body).encode(), request)
        assert isinstance(outcome, Reply | Fault)
        if isinstance(outcome, Reply) and (scores := read_reply(outcome, RUBRIC).scores):
            assert set(scores) == {3.0}
            assert body["choices"][0]["message"]["content"] == GRADES
