"""The client keeps its counts, its limits and its manners, whatever the endpoint does."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gip_exp.llm.client import ask_all
from gip_exp.llm.envelope import read_envelope
from gip_exp.llm.errors import BudgetReachedError, LLMError
from gip_exp.llm.faults import wait_s
from gip_exp.llm.prices import Price, find_price
from gip_exp.llm.progress import shown_on
from gip_exp.llm.request import Fault, Reply, Request, Schema, Stats
from gip_exp.llm.settings import EndpointSettings, Sampling
from gip_exp.llm.wire import Quirks, build_body, most_tokens
from gip_exp.progress import Bar
from tests.fault_server import ENVELOPE, FaultServer


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def endpoint(server: FaultServer, **changes: Any) -> EndpointSettings:
    usual = EndpointSettings(
        "judge", base_url=server.url, concurrency=8, timeout_s=5, backoff_s=0.01, backoff_max_s=0.05
    )
    return replace(usual, **changes)


def questions(n: int, **changes: Any) -> list[Request]:
    return [Request(messages=({"role": "user", "content": f"question {i}"},), **changes) for i in range(n)]


def test_replies_come_in_the_order_of_the_requests_and_only_once(server: FaultServer, tmp_path: Path) -> None:
    server.restart()
    first, stats = ask_all(questions(30), endpoint(server), cache_dir=tmp_path)
    second, again = ask_all(questions(30)[::-1], endpoint(server), cache_dir=tmp_path)
    assert [r.text for r in first if isinstance(r, Reply)] == [
        r.text for r in second[::-1] if isinstance(r, Reply)
    ]
    assert (stats.requests, again.requests, again.cached) == (30, 0, 30)
    assert server.account()["requests"] == 30


def test_an_endpoint_that_is_down_is_given_up_however_many_questions_there_are(
    server: FaultServer, tmp_path: Path
) -> None:
    server.restart(status=500, message="out of order")
    down = endpoint(server, concurrency=2, attempts=3)
    with pytest.raises(
        LLMError, match=r"no reply to the last \d+ requests .*out of order.*Replies received so far are kept"
    ):
        ask_all(questions(500), down, cache_dir=tmp_path)
    assert server.account()["requests"] < 20


def test_an_endpoint_that_is_busy_is_not_down_and_the_wait_for_it_is_shown_and_bounded(
    server: FaultServer, tmp_path: Path
) -> None:
    server.restart(status=429, message="slow down")
    busy = endpoint(server, concurrency=1, attempts=2, max_held_back_s=0.2)
    bar = Bar("asking", None, time.monotonic)
    with pytest.raises(
        LLMError, match=r"the provider's limit has let no request through .*slow down.*are kept"
    ):
        ask_all(questions(6), busy, cache_dir=tmp_path, progress=shown_on(bar))
    assert bar.line().startswith("asking: 0 of 6, ")
    assert bar.line().endswith("sent again after a rate limit, held back by the provider's limit")
    assert server.account()["requests"] > busy.attempts


def test_the_same_request_asked_at_once_is_sent_once(server: FaultServer, tmp_path: Path) -> None:
    server.restart(delay_s=0.05)
    outcomes, stats = ask_all(questions(1) * 20, endpoint(server), cache_dir=tmp_path)
    assert all(isinstance(o, Reply) for o in outcomes)
    assert (stats.requests, stats.cached, server.account()["requests"]) == (1, 19, 1)


def test_no_more_calls_are_in_flight_than_allowed(server: FaultServer, tmp_path: Path) -> None:
    server.restart(delay_s=0.03)
    _, stats = ask_all(questions(60), endpoint(server, concurrency=5), cache_dir=tmp_path)
    assert server.account()["peak"] == stats.peak_in_flight == 5


@pytest.mark.parametrize(
    ("kind", "counted"),
    [("500", "http 500"), ("503", "http 503"), ("closed", "connection"),
     ("half-body", "connection"), ("hang", "timeout"), ("slow", "timeout"),
     *[(kind, "envelope") for kind in ENVELOPE]],
)  # fmt: skip
def test_a_fault_is_counted_tried_six_times_and_reported(
    server: FaultServer, tmp_path: Path, kind: str, counted: str
) -> None:
    server.restart(fault_share=1.0, kinds=(kind,), hang_s=2)
    patience = 0.3 if counted == "timeout" else 20  # a busy machine must not make a timeout of another fault
    (outcome,), stats = ask_all(questions(1), endpoint(server, timeout_s=patience), cache_dir=tmp_path)
    assert isinstance(outcome, Fault)
    assert outcome.kind == counted
    assert (stats.requests, stats.retries, stats.failed, dict(stats.faults)) == (6, 5, 1, {counted: 6})
    assert server.account()["requests"] == 6
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_fault_that_passes_is_overcome(server: FaultServer, tmp_path: Path) -> None:
    server.restart(fault_share=1.0, in_a_row=5, kinds=("500", "429", "closed"))
    outcomes, stats = ask_all(questions(5), endpoint(server), cache_dir=tmp_path)
    assert all(isinstance(o, Reply) for o in outcomes)
    assert (stats.requests, stats.replies, stats.n_faults) == (30, 5, 25)


def test_retry_after_is_waited_for(server: FaultServer, tmp_path: Path) -> None:
    server.restart(fault_share=1.0, in_a_row=4, kinds=("429-after",))
    ask_all(questions(1), endpoint(server, backoff_s=1e-6, backoff_max_s=1e-6), cache_dir=tmp_path)
    times = server.account()["times"]
    assert len(times) == 5
    assert min(b - a for a, b in itertools.pairwise(times)) >= 0.05


def test_an_endpoint_that_asks_for_more_patience_than_allowed_ends_the_job(
    server: FaultServer, tmp_path: Path
) -> None:
    server.restart(fault_share=1.0, kinds=("429-after",))
    with pytest.raises(
        LLMError, match=r"asks to come back in .*Replies received so far are kept. Start again"
    ):
        ask_all(questions(1), endpoint(server, max_retry_after_s=0.01), cache_dir=tmp_path)
    assert server.account()["requests"] == 1


def test_retry_after_is_read_in_all_its_forms() -> None:
    assert wait_s({"retry-after": "7"}) == 7.0
    assert wait_s({"retry-after": "1.5"}) == 1.5
    assert wait_s({"retry-after-ms": "250", "retry-after": "7"}) == 0.25
    in_a_minute = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    assert 55 < (wait_s({"retry-after": in_a_minute}) or 0) <= 60
    assert wait_s({"retry-after": "soon"}) is None
    assert wait_s({}) is None


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [(401, "bad key", "check the key in OPENAI_API_KEY"), (403, "no", "check the key in OPENAI_API_KEY"),
     (404, "no such model", "check model='judge' and base_url="),
     (429, "You exceeded your current quota", "the account has no money left")],
)  # fmt: skip
def test_what_no_call_can_get_round_stops_the_job_and_says_what_to_do(
    server: FaultServer, tmp_path: Path, status: int, message: str, expected: str
) -> None:
    server.restart(status=status, message=message)
    with pytest.raises(LLMError, match=expected):
        ask_all(questions(500), endpoint(server), cache_dir=tmp_path)
    assert server.account()["requests"] <= 20


def test_a_request_that_is_refused_for_itself_is_not_repeated(server: FaultServer, tmp_path: Path) -> None:
    server.restart(status=400, message="maximum context length is 10 tokens")
    (outcome,), stats = ask_all(questions(1), endpoint(server), cache_dir=tmp_path)
    assert isinstance(outcome, Fault)
    assert "maximum context length" in outcome.detail
    assert stats.requests == 1


def test_without_a_key_a_local_server_gets_a_placeholder(server: FaultServer, tmp_path: Path) -> None:
    server.restart()
    ask_all(questions(1), endpoint(server), cache_dir=tmp_path)
    assert server.account()["headers"][0]["authorization"] == "Bearer no-key-needed"


def test_without_a_key_and_an_address_the_missing_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(LLMError, match=r"OPENAI_API_KEY is not set. Export it, or name a server"):
        ask_all(questions(1), EndpointSettings("gpt-4o"), cache_dir=tmp_path)


def test_azure_is_asked_by_deployment_with_its_own_key(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    azure = EndpointSettings("my-judge", base_url=server.url.removesuffix("/v1"), provider="azure")
    with pytest.raises(LLMError, match="AZURE_OPENAI_API_KEY is not set"):
        ask_all(questions(1), azure, cache_dir=tmp_path)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-key-1234")
    server.restart()
    (outcome,), _ = ask_all(questions(1), azure, cache_dir=tmp_path)
    assert isinstance(outcome, Reply)
    (headers,) = server.account()["headers"]
    assert headers["api-key"] == "azure-key-1234"
    assert headers["path"] == "/openai/deployments/my-judge/chat/completions?api-version=2024-10-21"


def test_a_raw_text_is_continued_at_the_completions_address(server: FaultServer, tmp_path: Path) -> None:
    server.restart()
    (outcome,), _ = ask_all([Request(prompt="Once")], endpoint(server), cache_dir=tmp_path)
    assert isinstance(outcome, Reply)
    assert outcome.text == " continued"
    assert server.account()["headers"][0]["path"] == "/v1/completions"


def test_a_job_works_inside_a_running_event_loop(server: FaultServer, tmp_path: Path) -> None:
    import asyncio

    server.restart()

    async def notebook() -> int:
        return ask_all(questions(2), endpoint(server), cache_dir=tmp_path)[1].replies

    assert asyncio.run(notebook()) == 2


PRICES = {"judge": Price(input=10.0, output=100.0)}  # a scripted reply: 100 + 20 tokens = 0.003 USD


def test_cost_is_counted_per_call_from_the_price_table(server: FaultServer, tmp_path: Path) -> None:
    server.restart()
    _, stats = ask_all(questions(10), endpoint(server, prices=PRICES), cache_dir=tmp_path)
    assert stats.spent_usd == pytest.approx(0.03)
    _, again = ask_all(questions(12), endpoint(server, prices=PRICES), cache_dir=tmp_path)
    assert again.spent_usd == pytest.approx(0.006)
    assert again.job_usd == pytest.approx(0.036)


@pytest.mark.parametrize("concurrency", [1, 8, 64])
def test_the_limit_is_never_passed_and_what_is_paid_for_is_kept(
    server: FaultServer, tmp_path: Path, concurrency: int
) -> None:
    server.restart(delay_s=0.005)
    settings = endpoint(server, prices=PRICES, max_cost_usd=0.2, concurrency=concurrency)
    text = "a problem as long as problems are, so that the tokens billed lie below its bytes"
    asked = [
        Request(messages=({"role": "user", "content": f"{text} {i}"},), sampling=Sampling(max_tokens=20))
        for i in range(200)
    ]
    with pytest.raises(BudgetReachedError, match=r"max_cost_usd=0.2 would be exceeded.*raise max_cost_usd"):
        ask_all(asked, settings, cache_dir=tmp_path)
    paid = server.account()["requests"]
    assert 0.19 <= paid * 0.003 <= 0.2
    with pytest.raises(BudgetReachedError):
        ask_all(asked, settings, cache_dir=tmp_path)  # started again, it does not spend the limit anew
    assert server.account()["requests"] <= paid + 3
    _, stats = ask_all(asked, replace(settings, max_cost_usd=None), cache_dir=tmp_path)
    assert stats.cached >= paid
    assert server.account()["requests"] == 200


def test_an_endpoint_that_bills_more_than_the_text_can_hold_is_reserved_for(
    server: FaultServer, tmp_path: Path
) -> None:
    server.restart()
    settings = endpoint(server, prices={"judge": Price(100.0, 100.0)}, max_cost_usd=0.1, concurrency=1)
    with pytest.raises(BudgetReachedError):
        ask_all(questions(50, sampling=Sampling(max_tokens=1)), settings, cache_dir=tmp_path)
    assert server.account()["requests"] * 0.012 <= 0.1


def test_a_limit_without_a_price_is_refused(server: FaultServer, tmp_path: Path) -> None:
    with pytest.raises(LLMError, match=r"no entry for model 'judge'.*USD per million"):
        ask_all(questions(1), endpoint(server, max_cost_usd=1.0), cache_dir=tmp_path)


def test_prices_know_dated_names_and_cached_tokens() -> None:
    prices = {"gpt-4o": Price(2.5, 10.0, cached_input=1.25)}
    assert find_price(prices, "gpt-4o-2024-08-06") is prices["gpt-4o"]
    assert find_price(prices, "gpt-4o-mini") is None
    assert prices["gpt-4o"].cost(1_000_000, 100_000, cached=400_000) == pytest.approx(
        0.6 * 2.5 + 0.4 * 1.25 + 1
    )
    with pytest.raises(LLMError, match="price table: input=-1"):
        Price(-1, 1)


def test_bad_settings_are_reported_together() -> None:
    bad = EndpointSettings(
        "", base_url="ftp://x", concurrency=0, timeout_s=0, structured="xml", max_cost_usd=0
    )
    with pytest.raises(LLMError) as caught:
        bad.check()
    for name in ("model is empty", "base_url", "concurrency is 0", "timeout_s is 0", "structured is 'xml'"):
        assert name in str(caught.value)


SCHEMA = Schema("s", {"type": "object"})
SYSTEM = ({"role": "system", "content": "rules"}, {"role": "user", "content": "text"})


def body(quirks: Quirks, **changes: Any) -> dict[str, Any]:
    request = Request(messages=SYSTEM, schema=SCHEMA, sampling=Sampling(seed=4), **changes)
    return build_body(request, EndpointSettings("m"), quirks)


@pytest.mark.parametrize(
    ("complaint", "field", "after"),
    [("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_tokens", None),
     ("Unsupported value: 'temperature' does not support 0.0. Only the default (1).", "temperature", None),
     ("Unrecognized request argument supplied: seed", "seed", None),
     ("response_format json_schema is not supported", "response_format", {"type": "json_object"}),
     ("System role not supported", "messages", [{"role": "user", "content": "rules\n\ntext"}])],
)  # fmt: skip
def test_a_complaint_about_a_parameter_is_learnt_from(complaint: str, field: str, after: object) -> None:
    quirks = Quirks.of(EndpointSettings("m"))
    assert field in body(quirks)
    assert body(quirks.after(complaint)).get(field) == after


def test_a_complaint_about_the_text_teaches_nothing() -> None:
    quirks = Quirks.of(EndpointSettings("m"))
    assert (
        quirks.after("This model's maximum context length is 10 tokens; the temperature outside is 5")
        == quirks
    )


def test_an_endpoint_without_a_feature_is_asked_again_in_another_form(
    server: FaultServer, tmp_path: Path
) -> None:
    server.restart(status=400, message="temperature is not supported by this model")
    (outcome,), stats = ask_all(questions(1), endpoint(server), cache_dir=tmp_path)
    assert isinstance(outcome, Fault)  # it complains for ever
    first, second = server.account()["bodies"]
    assert "temperature" in first
    assert "temperature" not in second
    assert dict(stats.faults) == {"adapted": 1, "http 400": 1}


@pytest.mark.parametrize("model", ["gpt-5", "gpt-5-mini", "o3", "o4-mini", "openai/gpt-5.1"])
def test_reasoning_models_get_no_temperature_and_room_to_think(model: str) -> None:
    settings = EndpointSettings(model)
    sampling = Sampling(max_tokens=100, seed=1, reasoning_effort="low")
    sent = build_body(Request(messages=SYSTEM, sampling=sampling), settings, Quirks.of(settings))
    assert not {"temperature", "top_p", "seed", "max_tokens"} & set(sent)
    assert (sent["max_completion_tokens"], sent["reasoning_effort"]) == (100 + 4096, "low")


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-50", "olmo", "qwen3"])
def test_other_models_keep_their_sampling(model: str) -> None:
    assert EndpointSettings(model).is_reasoning_model is False


def test_every_repetition_and_attempt_has_its_own_seed() -> None:
    sampling = Sampling(seed=0)
    requests = [
        Request(prompt="x", sampling=sampling, repetition=r, attempt=a) for r in range(3) for a in range(3)
    ]
    assert len({r.seed for r in requests}) == 9
    assert Request(prompt="x").seed is None


def test_missing_usage_is_estimated_and_marked() -> None:
    request = Request(prompt="four by four by..")
    reply = read_envelope(b'{"choices": [{"text": "12345678"}], "usage": {"prompt_tokens": -1}}', request)
    assert isinstance(reply, Reply)
    assert (reply.prompt_tokens, reply.completion_tokens, reply.estimated) == (5, 2, True)


def test_a_filtered_or_cut_reply_without_text_is_a_reply() -> None:
    request = Request(messages=SYSTEM)
    for finish, refusal in (("length", "null"), ("content_filter", "null"), ("stop", '"I would rather not"')):
        message = f'{{"content": null, "refusal": {refusal}}}'
        raw = f'{{"choices": [{{"finish_reason": "{finish}", "message": {message}}}]}}'
        assert isinstance(read_envelope(raw.encode(), request), Reply)


def test_the_token_bound_covers_text_of_any_script() -> None:
    prompt, completion = most_tokens(Request(prompt="\u00fc" * 50), EndpointSettings("gpt-5"))
    assert prompt >= 100
    assert completion == 512 + 4096


def test_counts_are_plain_json_values() -> None:
    import json

    assert json.loads(json.dumps(Stats().as_dict()))["faults"] == {}
