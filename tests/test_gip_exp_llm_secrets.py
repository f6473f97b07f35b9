"""A key never reaches a log, the cache, an error message or a traceback, even where an endpoint echoes it."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from gip_exp.llm.client import LLMClient, ask_all
from gip_exp.llm.errors import LLMError, redact, secrets_in_environment
from gip_exp.llm.request import Fault, Request
from gip_exp.llm.settings import EndpointSettings
from gip_exp.redaction import HIDDEN
from tests.fault_server import FaultServer

KEY = "sk-proj-Zq7Topsecret0123456789"
OTHER = "plain-key-without-a-shape-42"

JOB = """
import logging, sys, traceback
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
from pathlib import Path
from gip_exp.llm.client import ask_all
from gip_exp.llm.request import Request
from gip_exp.llm.settings import EndpointSettings
settings = EndpointSettings("judge", base_url=sys.argv[1], timeout_s=1, backoff_s=0.01)
print(settings)
requests = [Request(messages=({"role": "user", "content": f"q {i}"},)) for i in range(20)]
try:
    outcomes, stats = ask_all(requests, settings, cache_dir=Path(sys.argv[2]))
    print([str(o) for o in outcomes], stats)
except Exception as error:
    print("".join(traceback.TracebackException.from_exception(error, capture_locals=True).format()))
    raise
"""


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.mark.parametrize("key", [KEY, OTHER])
@pytest.mark.parametrize(
    "script",
    [{}, {"fault_share": 0.5, "hang_s": 2}, {"status": 401, "message": "ECHO"},
     {"status": 400, "message": "ECHO"}, {"status": 500, "message": "ECHO"}],
)  # fmt: skip
def test_no_output_of_a_job_holds_the_key(
    server: FaultServer, tmp_path: Path, key: str, script: dict[str, object]
) -> None:
    if script.get("message"):
        script = script | {"message": f"Incorrect API key provided: {key}, Authorization: Bearer {key}"}
    server.restart(**script)
    environment = os.environ | {"OPENAI_API_KEY": key, "OPENAI_LOG": "debug", "PYTHONPATH": os.getcwd()}
    words = [sys.executable, "-c", JOB, server.url, str(tmp_path / "cache")]
    done = subprocess.run(words, env=environment, capture_output=True, cwd=tmp_path, timeout=100, check=False)
    assert server.account()["headers"][0]["authorization"] == f"Bearer {key}"
    written = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert key.encode() not in done.stdout + done.stderr + written
    assert b"EndpointSettings" in done.stdout
    if script.get("status"):
        assert HIDDEN.encode() in done.stdout


def test_a_reply_that_holds_the_key_is_not_kept(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "continued")  # what the server answers to a prompt
    server.restart()
    with pytest.raises(LLMError, match=r"contains the API key and is not stored") as caught:
        ask_all([Request(prompt="x")], EndpointSettings("judge", base_url=server.url), cache_dir=tmp_path)
    shown = "".join(traceback.TracebackException.from_exception(caught.value).format())
    assert '"continued"' not in shown
    assert not list(tmp_path.glob("*.jsonl"))


def test_objects_do_not_show_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gip_exp.llm.cache import Cache

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    client = LLMClient(EndpointSettings("judge"), Cache(tmp_path))
    shown = repr(client) + repr(client._transport) + repr(client.settings) + repr(client.stats)
    assert KEY not in shown


@pytest.mark.parametrize(
    "address", ["http://user:pass@127.0.0.1/v1", "http://127.0.0.1/v1?api-key=abc", "http://token@host/v1"]
)
def test_an_address_that_carries_a_secret_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(LLMError, match="put the key into OPENAI_API_KEY") as caught:
        EndpointSettings("m", base_url=address).check()
    assert not any(secret in str(caught.value) for secret in ("pass@", "abc", "token"))


def test_text_is_cleared_of_known_secrets_and_of_what_looks_like_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVICE_API_KEY", OTHER)
    text = f"a {OTHER} b sk-abcdefgh1234 c Bearer abcdefgh.ijkl d http://me:pw@host/ e"
    cleared = redact(text, secrets_in_environment())
    assert cleared == f"a {HIDDEN} b {HIDDEN} c {HIDDEN} d http://{HIDDEN}@host/ e"


def test_a_short_value_is_not_taken_for_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X_TOKEN", "none")
    assert "none" not in secrets_in_environment()


def test_a_fault_s_text_is_one_short_line(server: FaultServer, tmp_path: Path) -> None:
    server.restart(status=400, message="long\n" * 1000)
    (fault,), _ = ask_all(
        [Request(prompt="x")], EndpointSettings("judge", base_url=server.url), cache_dir=tmp_path
    )
    assert isinstance(fault, Fault)
    assert len(fault.detail) < 400
    assert "\n" not in fault.detail
