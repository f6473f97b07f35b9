"""An endpoint that wants to harm: what it sends is a fault with a reason, never a crash, a leak or a trick on a terminal."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from gip_exp.console import Console
from gip_exp.errors import UserError, printable
from gip_exp.llm.envelope import read_envelope
from gip_exp.llm.errors import shorten
from gip_exp.llm.faults import read_error
from gip_exp.llm.request import Fault, Reply, Request
from gip_exp.llm.settings import EndpointSettings
from gip_exp.llm.transport import Transport

REQUEST = Request(messages=({"role": "user", "content": "q"},))
KEY = "plain-key-without-a-shape-42"


def body(**changes: Any) -> bytes:
    choice = {"message": {"content": "{}"}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": {}, "model": "m"} | changes).encode()


@pytest.mark.parametrize(
    "raw",
    [b"[" * 200_000, b'{"a":' * 100_000, b"9" * 10_000, b"\xff\xfe", b"null", b'{"choices": {"0": 1}}', b"NaN",
     body(choices=[{"message": {"content": ["a"]}}]), body(choices=[{"message": "a"}])],
)  # fmt: skip
def test_a_body_that_is_no_envelope_is_a_fault(raw: bytes) -> None:
    assert isinstance(read_envelope(raw, REQUEST), Fault)


@pytest.mark.parametrize("count", [10**400, -1, 1.5, True, "7", [7], float("inf")])
def test_senseless_token_counts_are_estimated(count: Any) -> None:
    usage = {
        "prompt_tokens": count,
        "completion_tokens": count,
        "prompt_tokens_details": {"cached_tokens": count},
    }
    reply = read_envelope(body(usage=usage), REQUEST)
    assert isinstance(reply, Reply)
    assert reply.estimated
    assert max(reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens) < 100


def test_names_in_an_envelope_are_kept_short() -> None:
    choice = {"message": {"content": "x"}, "finish_reason": "f" * 10**6}
    reply = read_envelope(body(choices=[choice], model="m" * 10**6), REQUEST)
    assert isinstance(reply, Reply)
    assert len(reply.finish_reason) + len(reply.model) <= 400


def test_half_a_surrogate_pair_reaches_no_file() -> None:
    half = "\ud83d"
    choice = {"message": {"content": f"a{half}", "refusal": half}, "finish_reason": half}
    reply = read_envelope(body(choices=[choice], model=half), REQUEST)
    assert isinstance(reply, Reply)
    assert (reply.text, reply.refusal, reply.finish_reason, reply.model) == ("a?", "?", "?", "?")
    said = read_error(json.dumps({"error": {"message": half}}).encode()).message
    assert shorten(said) == "?"


@pytest.mark.parametrize(
    "changes",
    [{"model": f"judge {KEY}"}, {"choices": [{"message": {"content": "x", "refusal": KEY}}]},
     {"choices": [{"message": {"content": "x"}, "finish_reason": KEY}]}],
)  # fmt: skip
def test_a_key_in_any_part_of_a_reply_is_not_kept(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    from gip_exp.llm.errors import LLMError

    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    async def send() -> Any:
        transport = Transport(EndpointSettings("judge", base_url="http://127.0.0.1:9/v1"))

        async def post(path: str, sent: Any) -> bytes:
            return body(**changes)

        monkeypatch.setattr(transport, "_post", post)
        try:
            return await transport.send(REQUEST)
        finally:
            await transport.close()

    with pytest.raises(LLMError, match="contains the API key and is not stored") as caught:
        asyncio.run(send())
    assert KEY not in str(caught.value)


TRICKS = "\x1b]0;title\x07\x1b[2J\x9b31m\x08\r gone \u202egnp.exe [red]not red[/red] [link=http://x]y[/link]"


def test_what_others_wrote_reaches_the_terminal_and_the_log_spelt_out(tmp_path: Any) -> None:
    stream = io.StringIO()
    console = Console(stream)
    with console.logging_to(tmp_path / "log.txt"):
        console.say(TRICKS)
        console.warn(f"{TRICKS}\nsecond line\tafter a tab")
    for text in (stream.getvalue(), (tmp_path / "log.txt").read_text(), str(UserError(TRICKS))):
        assert not any(sign in text for sign in "\x1b\x07\x9b\x08\r\u202e")
        assert "\\x1b]0;title\\x07" in text
        assert "[red]not red[/red] [link=http://x]y[/link]" in text
    assert "\nsecond line\tafter a tab" in (tmp_path / "log.txt").read_text()
    assert printable("ordinary: äß 漢字 \n\t") == "ordinary: äß 漢字 \n\t"
    assert printable("half a pair: \ud83d") == "half a pair: \\ud83d"


def test_status_shows_names_of_a_plan_as_they_are() -> None:
    from rich.console import Console as RichConsole

    from gip_exp.status import table
    from gip_exp.sweep.state import FAILED, State

    state = State(
        name="[red]a", label=TRICKS, state=FAILED, stage="[b]s", where="w", reason=TRICKS, folder="/nowhere"
    )
    stream = io.StringIO()
    RichConsole(file=stream, width=400).print(table([state]))
    assert "[red]a" in stream.getvalue()
    assert "[b]s" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
