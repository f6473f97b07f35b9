"""Several addresses with the same model: one that dies loses nothing, buys nothing twice and is said once."""

from __future__ import annotations

import io
import threading
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gip_exp import pipeline
from gip_exp.console import Console
from gip_exp.errors import UserError
from gip_exp.llm import replicas
from gip_exp.llm.client import ask_all
from gip_exp.llm.errors import LLMError
from gip_exp.llm.request import Fault, Reply, Request, cache_key
from gip_exp.llm.server import command
from gip_exp.llm.settings import EndpointSettings
from gip_exp.signals import judge_endpoint
from tests.provider_server import Answer, Provider, answer, error

GRADES = '{"accuracy": 3, "reasoning": 3, "clarity": 3, "helpfulness": 3, "difficulty": 3}'
GONE = Answer(status=0)


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


class Server:
    """Answers requests number `dead_from` to `dead_to` (from 0) with `fault`, the others with a text."""

    def __init__(self, dead_from: int = 10**9, dead_to: int = 10**9, fault: Answer = GONE) -> None:
        self.dead, self.fault = range(dead_from, dead_to), fault
        self.seen, self.answered = 0, Counter[str]()
        self._lock = threading.Lock()
        self.provider = Provider(self._reply)
        self.url = self.provider.url

    def _reply(self, body: dict[str, Any]) -> Answer:
        with self._lock:
            number, self.seen = self.seen, self.seen + 1
            if number in self.dead:
                return self.fault
            self.answered[body["messages"][-1]["content"]] += 1
            return answer(GRADES)


@pytest.fixture
def serve() -> Any:
    with ExitStack() as stack:

        def started(*arguments: Any, **named: Any) -> Server:
            server = Server(*arguments, **named)
            stack.enter_context(server.provider)
            return server

        yield started


def endpoint(*servers: Server, **changes: Any) -> EndpointSettings:
    first, *more = (server.url for server in servers)
    usual = EndpointSettings("judge", base_url=first, more_urls=tuple(more), concurrency=8, timeout_s=20,
                             backoff_s=0.01, backoff_max_s=0.05)  # fmt: skip
    return replace(usual, **changes)


def questions(n: int) -> list[Request]:
    return [Request(messages=({"role": "user", "content": f"question {i}"},)) for i in range(n)]


@pytest.mark.parametrize("fault", [GONE, error(503, "loading"), error(500, "engine dead")])
def test_one_dies_midway_and_nothing_is_lost_or_bought_twice(
    serve: Any, tmp_path: Path, fault: Answer
) -> None:
    dying, sound = serve(40, 10**9, fault), serve()
    outcomes, stats = ask_all(questions(300), endpoint(dying, sound), cache_dir=tmp_path)
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    assert dying.answered + sound.answered == Counter(f"question {i}" for i in range(300))
    assert (stats.replies, stats.retries, stats.failed) == (300, 0, 0)
    assert sum(dying.answered.values()) == 40
    moved = dying.seen - 40
    assert moved > 0
    assert stats.requests == 300 + moved == stats.replies + stats.n_faults
    assert [kind for kind in stats.faults if "sent elsewhere" not in kind] == []
    (note,) = stats.notes
    assert note.startswith(f"{dying.url} failed (")
    again, counts = ask_all(questions(300), endpoint(sound), cache_dir=tmp_path)
    assert (len(again), counts.cached) == (300, 300)


def test_both_work_at_the_same_time(serve: Any, tmp_path: Path) -> None:
    one, two = serve(), serve()
    ask_all(questions(200), endpoint(one, two), cache_dir=tmp_path)
    assert one.seen + two.seen == 200
    assert min(one.seen, two.seen) > 50


def test_an_address_that_comes_back_is_used_again(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(replicas, "_LONGEST_PAUSE_S", 0.01)
    returning, sound = serve(0, 6), serve()
    _, stats = ask_all(questions(400), endpoint(returning, sound), cache_dir=tmp_path)
    assert stats.replies == 400
    assert sum(returning.answered.values()) > 0
    assert len(stats.notes) == 1


def test_when_all_are_dead_the_job_stops_and_names_them(serve: Any, tmp_path: Path) -> None:
    one, two = serve(0), serve(0)
    with pytest.raises(
        LLMError, match=rf"no reply to the last .*Check that {one.url} or {two.url} is running"
    ):
        ask_all(questions(100), endpoint(one, two, concurrency=2, attempts=2), cache_dir=tmp_path)


def test_a_request_that_is_refused_is_not_asked_elsewhere(serve: Any, tmp_path: Path) -> None:
    refusing = serve(0, 10**9, error(400, "maximum context length is 10 tokens"))
    sound = serve()
    outcomes, _ = ask_all(questions(1), endpoint(refusing, sound), cache_dir=tmp_path)
    assert isinstance(outcomes[0], Fault)
    assert sound.seen == 0


def test_keys_depend_neither_on_the_addresses_nor_on_their_number(
    serve: Any, micro: Any, tmp_path: Path
) -> None:
    one, two = serve(), serve()
    request = questions(1)[0]
    assert cache_key(request, endpoint(one)) == cache_key(request, endpoint(two, one))
    folders, keys = set(), set()
    for urls in (one.url, f"['{one.url}','{two.url}']", f"['{two.url}']"):
        config = micro(tmp_path, "judge=openai", "judge.model=j", f"judge.base_url={urls}", "until=score")
        outcome = pipeline.run(config, Console(io.StringIO()))
        folders.add(outcome.folder)
        keys.add(outcome.entries["score"].key)
    assert len(folders) == len(keys) == 1
    assert (one.seen, two.seen) == (240, 0)


def test_a_pool_is_judged_by_two_servers_of_which_one_never_answers(
    serve: Any, micro: Any, tmp_path: Path
) -> None:
    dead, sound = serve(0), serve()
    said = io.StringIO()
    urls = f"judge.base_url=['{dead.url}','{sound.url}']"
    outcome = pipeline.run(
        micro(tmp_path, "judge=openai", "judge.model=j", urls, "until=score"), Console(said)
    )
    counts = outcome.entries["score"].facts["judge"]["llm"]
    assert counts["replies"] == sum(sound.answered.values()) == 240
    assert counts["faults"] == {"connection, sent elsewhere": dead.seen}
    assert said.getvalue().count(f"{dead.url} failed") == 1


def test_one_server_is_enough_to_start_and_none_is_an_error(serve: Any, micro: Any, tmp_path: Path) -> None:
    def judged(*urls: str) -> Any:
        listed = ",".join(f"'{url}'" for url in urls)
        return micro(tmp_path, "judge=openai", "judge.model=j", f"judge.base_url=[{listed}]", "until=score")

    nobody = [f"http://127.0.0.1:{port}/v1" for port in (9, 11)]
    with pytest.raises(UserError, match=r"(?s)127.0.0.1:9/v1: no server answers.*127.0.0.1:11/v1: no server"):
        pipeline.run(judged(*nobody), Console(io.StringIO()))
    outcome = pipeline.run(judged(nobody[0], serve().url), Console(io.StringIO()))
    assert outcome.entries["score"].facts["n_unscored"] == 0


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[]", "must be an address like http://127.0.0.1:8000/v1, or a list of addresses"),
        ("['http://a/v1','http://a/v1']", "names an address twice"),
        ("['http://a/v1',7]", "or a list of addresses"),
        ("['http://a/v1','ftp://b']", "must be an address like"),
    ],
)
def test_lists_of_addresses_that_are_none(micro: Any, tmp_path: Path, value: str, said: str) -> None:
    with pytest.raises(UserError, match=r"judge\.base_url: ") as raised:
        micro(tmp_path, "judge=openai", f"judge.base_url={value}")
    assert said in str(raised.value)


def test_a_batch_goes_to_one_address(micro: Any, tmp_path: Path) -> None:
    config = micro(
        tmp_path, "judge=openai", "judge.batch=true", "judge.base_url=['http://a/v1','http://b/v1']"
    )
    with pytest.raises(UserError, match=r"judge.batch=true goes to one address"):
        pipeline.run(config, Console(io.StringIO()))


COPIES = [
    (0, [], None),
    (1, [], None),
    (8, [], 8),
    (8, ["judge.server_args=['--tensor-parallel-size=2']"], 4),
    (8, ["judge.server_args=[-tp,'4']"], 2),
    (8, ["judge.replicas=3"], 3),
    (0, ["judge.replicas=2"], 2),
    (8, ["judge.server_args=['--data-parallel-size=5']"], 5),
]


@pytest.mark.parametrize("case", COPIES, ids=str)
def test_a_judge_s_server_has_one_copy_per_gpu(
    micro: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: tuple[int, list[str], int | None]
) -> None:
    gpus, overrides, copies = case
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    config = micro(tmp_path, "judge=vllm", "judge.model=m", *overrides)
    server = judge_endpoint.server_of(config.judge, tmp_path / "log", config.judge.model)
    words = command(server.settings, 1)
    assert "--enable-prefix-caching" in words
    found = [word for word in words if word.startswith("--data-parallel-size")]
    assert found == ([] if copies is None else [f"--data-parallel-size={copies}"])


def test_the_number_of_copies_is_no_part_of_a_judge_s_identity(micro: Any, tmp_path: Path) -> None:
    judges = [micro(tmp_path, "judge=vllm", "judge.model=m", f"judge.replicas={n}").judge for n in (1, 2)]
    assert judge_endpoint.identity(judges[0]) == judge_endpoint.identity(judges[1])
