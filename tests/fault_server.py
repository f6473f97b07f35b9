"""An OpenAI-compatible server that misbehaves by a seeded script, and keeps account of what it did.

What happens to a request depends on the seed, its body and how often that body was seen before, so runs can
be compared whatever the order of arrival. Only asyncio: some faults need the bare socket.

    with FaultServer(fault_share=0.2, seed=0) as server:
        EndpointSettings(model="judge", base_url=server.url)
        server.account()["requests"]
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import multiprocessing
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

TRANSPORT = ("429", "429-after", "500", "503", "closed", "half-body", "hang", "slow")
ENVELOPE = ("not-json", "no-choices", "empty-choices", "wrong-types")
UNREADABLE = ("null-content", "prose", "half-json", "wrong-scale", "missing-attribute")
_BROKEN = {
    "not-json": b"<html>upstream is having a moment</html>",
    "no-choices": b'{"id": "x"}',
    "empty-choices": b'{"id": "x", "choices": []}',
    "wrong-types": b'{"choices": [{"message": {"content": 5}, "finish_reason": "stop"}]}',
}
NAMES = ("accuracy", "reasoning", "clarity", "helpfulness", "difficulty")


@dataclass(frozen=True)
class Script:
    """fault_share of the requests meet a transport or envelope fault, unreadable_share of the rest get a
    reply without scores. At most `in_a_row` faults come for one body, `unreadable_bodies` (a share) are
    never answered readably. hang_s: how long a hang or slow stream lasts. status: answer all with it.
    """

    seed: int = 0
    fault_share: float = 0.0
    unreadable_share: float = 0.0
    unreadable_bodies: float = 0.0
    in_a_row: int = 1_000_000
    kinds: tuple[str, ...] = TRANSPORT + ENVELOPE
    delay_s: float = 0.0
    hang_s: float = 3.0
    status: int = 200
    message: str = ""
    names: tuple[str, ...] = NAMES


@dataclass
class Account:
    """What was received and sent back. valid: readable replies sent, by body."""

    requests: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    valid: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    peak: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


def unit(*parts: object) -> float:
    """Return a number in [0, 1) that depends on the parts alone."""
    digest = hashlib.sha256("\x00".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def scores_for(messages: list[dict[str, str]], names: tuple[str, ...]) -> dict[str, int]:
    """Return the scores that this server gives a conversation, whenever it is asked."""
    text = json.dumps([m["content"] for m in messages])
    return {name: 1 + int(5 * unit("score", name, text)) for name in names}


def choose(script: Script, body: dict[str, Any], raw: bytes, nth: int) -> str:
    """Return what happens to the nth request (from 0) with this body."""
    digest = hashlib.sha256(raw).hexdigest()
    text = json.dumps(body.get("messages") or body.get("prompt"))
    if nth < script.in_a_row and unit(script.seed, "fault", digest, nth) < script.fault_share:
        return script.kinds[int(unit(script.seed, "kind", digest, nth) * len(script.kinds))]
    hopeless = unit(script.seed, "hopeless", text) < script.unreadable_bodies
    if hopeless or unit(script.seed, "unreadable", digest) < script.unreadable_share:
        return UNREADABLE[int(unit(script.seed, "form", digest) * len(UNREADABLE))]
    return "ok"


def content(kind: str, scores: dict[str, int]) -> str:
    """Return the text of a reply."""
    if kind == "prose":
        return "I would say this is quite a good example overall."
    if kind == "half-json":
        return json.dumps(scores)[: len(json.dumps(scores)) // 2]
    if kind == "wrong-scale":
        return json.dumps(dict.fromkeys(scores, 9))
    if kind == "missing-attribute":
        return json.dumps(dict(list(scores.items())[1:]))
    return json.dumps(scores)


def envelope(text: Any, *, prompt: bool = False) -> bytes:
    """Return a complete response body around a text."""
    inner = {"text": text} if prompt else {"message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    choice = {"index": 0, "finish_reason": "stop"} | inner
    return json.dumps({"id": "x", "model": "judge", "choices": [choice], "usage": usage}).encode()


def answer(kind: str, body: dict[str, Any], script: Script) -> bytes:
    """Return the body that goes with an outcome."""
    if kind in _BROKEN:
        return _BROKEN[kind]
    if kind == "null-content":
        return envelope(None)
    if "messages" not in body:
        return envelope(" continued", prompt=True)
    return envelope(content(kind, scores_for(body["messages"], script.names)))


class Served:
    """The server inside its event loop."""

    def __init__(self, script: Script) -> None:
        self.script, self.account = script, Account()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
            pass
        except asyncio.CancelledError:
            pass  # the server is ending
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = re.search(r"(?i)content-length: *(\d+)", head)
        raw = await reader.readexactly(int(length[1]) if length else 0)
        if head.startswith("GET"):
            return await self._send(writer, 200, b"{}")
        body = json.loads(raw)
        account = self.account
        digest = hashlib.sha256(raw).hexdigest()
        kind = choose(self.script, body, raw, account.seen[digest])
        account.seen[digest] += 1
        account.requests += 1
        account.outcomes[kind] += 1
        account.valid[digest] += kind == "ok" or kind in UNREADABLE
        if account.requests <= 50:
            account.bodies.append(body)
            lines = [line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line]
            account.headers.append({k.lower(): v for k, v in lines} | {"path": head.split(" ")[1]})
            account.times.append(time.monotonic())
        account.in_flight += 1
        account.peak = max(account.peak, account.in_flight)
        try:
            return await self._act(kind, body, writer)
        finally:
            account.in_flight -= 1

    async def _act(self, kind: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        script = self.script
        if script.delay_s:
            await asyncio.sleep(script.delay_s)
        if script.status != 200:
            message = json.dumps({"error": {"message": script.message}}).encode()
            return await self._send(writer, script.status, message)
        if kind in ("closed", "hang"):
            await asyncio.sleep(script.hang_s if kind == "hang" else 0)
            return False
        if kind in ("429", "429-after", "500", "503"):
            extra = "Retry-After: 0.05\r\n" if kind == "429-after" else ""
            error = json.dumps({"error": {"message": f"scripted {kind}"}}).encode()
            return await self._send(writer, int(kind[:3]), error, extra)
        data = answer(kind, body, script)
        if kind == "half-body":
            await self._send(writer, 200, data, cut=len(data) // 2)
            return False
        if kind == "slow":
            return await self._drip(writer, data)
        return await self._send(writer, 200, data)

    async def _send(
        self, writer: asyncio.StreamWriter, status: int, data: bytes, extra: str = "", cut: int | None = None
    ) -> bool:
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{extra}Content-Length: {len(data)}"
        writer.write(head.encode() + b"\r\n\r\n" + data[:cut])
        await writer.drain()
        return True

    async def _drip(self, writer: asyncio.StreamWriter, data: bytes) -> bool:
        """Send a byte at a time: never silent for long, never done."""
        await self._send(writer, 200, data, cut=0)
        for i in range(50):
            writer.write(data[i : i + 1])
            await writer.drain()
            await asyncio.sleep(self.script.hang_s / 50)
        return False


def _serve(script: Script, pipe: Connection) -> None:
    served = Served(script)

    async def main() -> None:
        server = await asyncio.start_server(served.handle, "127.0.0.1", 0, backlog=512)
        pipe.send(server.sockets[0].getsockname()[1])
        loop = asyncio.get_running_loop()
        ended = loop.create_future()

        def command() -> None:
            try:
                order = pipe.recv()
            except EOFError:
                order = None
            if isinstance(order, Script):
                served.script = order
                served.account = Account()
                pipe.send("ok")
            elif order == "account":
                pipe.send(vars(served.account))
            elif not ended.done():
                loop.remove_reader(pipe.fileno())
                ended.set_result(None)

        loop.add_reader(pipe.fileno(), command)
        await ended

    asyncio.run(main())


class FaultServer:
    """The server in a process of its own (so that a client's speed can be measured), as a context manager."""

    def __init__(self, **script: Any) -> None:
        self.script = Script(**script)
        self._process: Any = None
        self._pipe: Any = None
        self.url = ""

    def __enter__(self) -> FaultServer:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self.script, theirs), daemon=True)
        self._process.start()
        self.url = f"http://127.0.0.1:{self._pipe.recv()}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        if not self._process.is_alive():
            return  # ended before
        self._pipe.send("end")
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()

    def account(self) -> dict[str, Any]:
        """Return the counts so far."""
        self._pipe.send("account")
        return self._pipe.recv()

    def restart(self, **script: Any) -> None:
        """Go on under another script at the same address, with fresh counts."""
        self.script = Script(**script)
        self._pipe.send(self.script)
        assert self._pipe.recv() == "ok"


def wait_until(true: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Return once `true()` holds; fail after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
