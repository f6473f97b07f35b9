"""Batches: every way in which one can end, nothing lost and nothing bought twice, whatever is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gip_exp.llm import batch as batches
from gip_exp.llm.batch import BatchOutcome, BatchSettings, WaitingForBatchError, complete
from gip_exp.llm.cache import Cache
from gip_exp.llm.errors import BudgetReachedError, LLMError
from gip_exp.llm.prices import Price
from gip_exp.llm.request import Request, cache_key
from gip_exp.llm.settings import EndpointSettings, Sampling
from tests.batch_server import BatchServer

QUICK = BatchSettings(wait_s=5.0, poll_s=0.01)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_FIND_S", 0.1)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def questions(n: int) -> list[Request]:
    sampling = Sampling(max_tokens=20)
    return [
        Request(messages=({"role": "user", "content": f"question {i}"},), sampling=sampling) for i in range(n)
    ]


def run(
    server: BatchServer, folder: Path, n: int = 10, batch: BatchSettings = QUICK, **changes: Any
) -> BatchOutcome:
    settings = EndpointSettings("judge", base_url=server.url, **changes)
    asked = questions(n)

    def wanted(cache: Cache) -> list[Request]:
        return [request for request in asked if cache.get(cache_key(request, settings)) is None]

    return complete(wanted, settings, batch, cache_dir=folder, job=lambda _: asked)


def n_replies(server: BatchServer, folder: Path, n: int) -> int:
    settings = EndpointSettings("judge", base_url=server.url)
    with Cache(folder) as cache:
        return sum(cache.get(cache_key(request, settings)) is not None for request in questions(n))


def test_a_batch_answers_all_and_a_second_run_sends_nothing(tmp_path: Path) -> None:
    with BatchServer() as server:
        first = run(server, tmp_path)
        again = run(server, tmp_path)
        assert (first.replies, first.left, first.batches) == (10, 0, 1)
        assert (again.replies, again.left, len(server.batches)) == (0, 0, 1)
        assert n_replies(server, tmp_path, 10) == 10
        assert set(server.bought.values()) == {1}


@pytest.mark.parametrize(
    ("ending", "left", "reason"),
    [("partial", 5, "completed"), ("torn", 5, "completed"), ("expired", 5, "expired"), ("cancelled", 5, "cancelled"),
     ("failed", 10, "Enqueued token limit reached"), ("errors", 4, "http 400: the text was refused")],
)  # fmt: skip
def test_what_a_batch_leaves_is_counted_with_its_reason_and_not_sent_again(
    tmp_path: Path, ending: str, left: int, reason: str
) -> None:
    with BatchServer([ending]) as server:
        outcome = run(server, tmp_path)
        assert (outcome.left, outcome.replies, outcome.reasons) == (left, 10 - left, {reason: left})
        run(server, tmp_path)
        assert len(server.batches) == 1


@pytest.mark.parametrize("ending", ["partial", "torn", "expired", "cancelled", "failed", "errors"])
def test_the_rest_goes_into_another_batch_if_asked_for(tmp_path: Path, ending: str) -> None:
    with BatchServer([ending, "completed"]) as server:
        outcome = run(server, tmp_path, batch=replace(QUICK, rest="batch"))
        assert (outcome.left, outcome.replies, outcome.batches) == (0, 10, 2)
        assert set(server.bought.values()) == {1}


def test_what_comes_back_from_three_batches_is_left(tmp_path: Path) -> None:
    with BatchServer(["failed"]) as server:
        assert run(server, tmp_path, batch=replace(QUICK, rest="batch")).left == 10
        assert len(server.batches) == 3


def test_many_requests_are_cut_into_several_batches(tmp_path: Path) -> None:
    with BatchServer() as server:
        assert run(server, tmp_path, 25, replace(QUICK, most_requests=10)).batches == 3
        sizes = [len(server.lines(batch["input_file_id"])) for batch in server.batches.values()]
        assert sizes == [10, 10, 5]
    with BatchServer() as server:
        run(server, tmp_path / "bytes", 10, replace(QUICK, most_bytes=600))
        sizes = [sum(map(len, server.lines(batch["input_file_id"]))) for batch in server.batches.values()]
        assert 2 <= len(sizes) < 10
        assert max(sizes) <= 600
        assert sum(server.bought.values()) == 10


def test_waiting_costs_no_process(tmp_path: Path) -> None:
    with BatchServer(["never"]) as server:
        patient = replace(QUICK, wait_s=0.0, most_requests=4)
        with pytest.raises(WaitingForBatchError, match=r"waiting for batch, 0 of 3 done .*start again later"):
            run(server, tmp_path, batch=patient)
        for batch in list(server.batches.values())[:2]:
            batch["ending"] = "completed"
        with pytest.raises(WaitingForBatchError, match="waiting for batch, 2 of 3 done"):
            run(server, tmp_path, batch=patient)
        server.batches["batch_2"]["ending"] = "completed"
        assert run(server, tmp_path, batch=patient).left == 0
        assert len(server.batches) == 3


PRICES = {"judge": Price(10.0, 100.0)}  # 100 + 20 tokens: 0.003 USD live, 0.0015 USD in a batch


def test_money_is_reserved_before_the_upload_and_counted_at_half_price(tmp_path: Path) -> None:
    with BatchServer() as server:
        with pytest.raises(BudgetReachedError, match=r"max_cost_usd=0.0001 would be exceeded"):
            run(server, tmp_path, prices=PRICES, max_cost_usd=0.0001)
        assert not server.files
        # A request reserves about 0.0015 USD, of which 0.0015 are billed: 10 need 0.015, and 0.01 is allowed.
        with pytest.raises(BudgetReachedError, match="raise max_cost_usd"):
            run(server, tmp_path, prices=PRICES, max_cost_usd=0.01)
        assert 4 <= sum(server.bought.values()) <= 6
        run(server, tmp_path, prices=PRICES, max_cost_usd=0.05)
        assert set(server.bought.values()) == {1}
        assert sum(server.bought.values()) == 10


def test_a_limit_without_a_price_is_refused_before_the_upload(tmp_path: Path) -> None:
    with BatchServer() as server:
        with pytest.raises(LLMError, match="no entry for model 'judge'"):
            run(server, tmp_path, max_cost_usd=1.0)
        assert server.calls == 0


def test_the_client_counts_replies_of_batches_at_their_price(tmp_path: Path) -> None:
    from gip_exp.llm.client import ask_all

    with BatchServer() as server:
        run(server, tmp_path)
        settings = EndpointSettings("judge", base_url=server.url, prices=PRICES, offline=True)
        _, stats = ask_all(questions(10), settings, cache_dir=tmp_path)
        assert stats.cached == 10
        assert stats.job_usd == pytest.approx(10 * 0.0015)


def test_offline_nothing_is_sent(tmp_path: Path) -> None:
    from gip_exp.llm.client import ask_all

    settings = EndpointSettings("gpt-4o", offline=True)  # no key is needed either
    outcomes, stats = ask_all(questions(3), settings, cache_dir=tmp_path)
    assert [str(outcome) for outcome in outcomes] == [
        "offline: it is not in the reply cache, and nothing is sent"
    ] * 3
    assert stats.requests == 0


def test_an_endpoint_without_batches_is_named(tmp_path: Path) -> None:
    with BatchServer() as server:
        settings = EndpointSettings("judge", base_url=server.url.replace("/v1", "/v2"))
        with pytest.raises(LLMError, match=r"uploading a batch .* failed: http 404.*judge.batch=false"):
            complete(lambda _: questions(1), settings, QUICK, cache_dir=tmp_path)


def test_a_damaged_record_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with BatchServer() as server:
        run(server, tmp_path)
        (record,) = (tmp_path / "batches").glob("*.json")
        record.write_text("{")
        with pytest.raises(
            LLMError, match=r"damaged .*delete it: its requests are then sent and paid for again"
        ):
            run(server, tmp_path)


def _work(url: str, folder: Path, n: int, kill_at: int, fault_waits: bool) -> None:
    """Run a job that kills its own process at the `kill_at`-th point: before or after a call, or a record's write."""
    from gip_exp.llm.batch_api import BatchApi
    from gip_exp.llm.batch_records import BatchRecords

    batches._FIND_S = 0.3
    points = iter(range(1, 10**6))

    def point() -> None:
        if next(points) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    call, save, put = BatchApi._call, BatchRecords.save, Cache.put

    async def watched_call(self: Any, doing: str, awaitable: Any) -> Any:
        point()
        answer = await call(self, doing, awaitable)
        point()
        return answer

    def watched_save(self: Any, record: Any) -> None:
        point()
        save(self, record)
        point()

    def watched_put(self: Any, key: str, reply: Any) -> None:
        point()
        put(self, key, reply)

    BatchApi._call, BatchRecords.save, Cache.put = watched_call, watched_save, watched_put  # type: ignore[method-assign]
    settings = EndpointSettings("judge", base_url=url)
    asked = questions(n)

    def wanted(cache: Cache) -> list[Request]:
        return [request for request in asked if cache.get(cache_key(request, settings)) is None]

    quick = BatchSettings(rest="batch", wait_s=20.0, poll_s=0.01, most_requests=4)
    for _ in range(1000 if fault_waits else 1):
        try:
            complete(wanted, settings, quick, cache_dir=folder, job=lambda _: asked)
            return
        except WaitingForBatchError:
            raise
        except LLMError:
            if not fault_waits:
                raise


def test_a_job_killed_at_any_of_its_steps_loses_and_buys_nothing_twice(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    kills = 0
    with BatchServer(["partial", "completed"]) as server:
        for place in range(1, 50, 5):
            server.batches.clear()
            server.bought.clear()
            folder = tmp_path / str(place)
            folder.mkdir()
            for kill_at in (place, place + 1, 10**7):
                job = context.Process(target=_work, args=(server.url, folder, 10, kill_at, False))
                job.start()
                job.join(60)
                kills += job.exitcode == -signal.SIGKILL
            assert job.exitcode == 0
            assert n_replies(server, folder, 10) == 10
            assert set(server.bought.values()) == {1}, place
    assert kills >= 14


@pytest.fixture
def scoring(compose: Any, tmp_path: Path, data_dir: str) -> Any:
    """A function that runs the selection of 12 questions of GSM8K with a judge behind a server."""
    import io

    from gip_exp import pipeline
    from gip_exp.config import parse
    from gip_exp.console import Console

    def scored(server: BatchServer, *overrides: str) -> tuple[Any, str]:
        words = ["+experiment=gsm8k_cpu", f"data.path={data_dir}/gsm8k", f"paths.root={tmp_path}", "data.limit=12",
                 "until=select", "selector=top_score", "judge=openai", "judge.model=judge", "judge.batch=true",
                 f"judge.base_url={server.url}", "judge.batch_wait_min=0", *overrides]  # fmt: skip
        said = io.StringIO()
        return pipeline.run(parse(compose(*words)), Console(said)), said.getvalue()

    return scored


def test_a_pool_is_scored_by_a_batch_over_two_runs(scoring: Any) -> None:
    from gip_exp.errors import UserError

    with BatchServer(polls=1) as server:
        with pytest.raises(UserError, match="waiting for batch, 0 of 1 done"):
            scoring(server)
        outcome, said = scoring(server)
        assert "batch batch_0 completed" in said
        judged = outcome.entries["score"].facts["judge"]
        assert (judged["n_unscored"], judged["llm"]["cached"], judged["llm"]["requests"]) == (0, 12, 0)
        assert not server.live


def test_the_rest_of_an_expired_batch_is_asked_live_or_stays_unscored(scoring: Any) -> None:
    with BatchServer(["expired"], polls=0) as server:
        outcome, said = scoring(
            server, "judge.batch_rest=unscored", "judge.max_unscored=0.5", "judge.batch_wait_min=1"
        )
        assert outcome.entries["score"].facts["judge"]["n_unscored"] == 6
        assert "6 requests came back from no batch (6 x expired): left without a reply" in said
        assert not server.live


def test_unreadable_replies_of_a_batch_are_asked_for_again_in_the_form_chosen(scoring: Any) -> None:
    with BatchServer(["unreadable", "completed"], polls=0) as server:
        outcome, _ = scoring(server, "judge.batch_rest=batch", "judge.batch_wait_min=1")
        assert outcome.entries["score"].facts["judge"]["n_unscored"] == 0
        assert (len(server.batches), len(server.live)) == (2, 0)
