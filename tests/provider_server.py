"""An endpoint that answers as real providers do: a list of answers by script, and a limit in tokens a minute.

Small and in the test's own process (a thread), unlike `fault_server`, whose faults are random.

    with Provider([answer(text='{"a": 1}')]) as provider:
        EndpointSettings(model="judge", base_url=provider.url)
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """What is sent back: a status, a body (JSON, or bytes as they are) and headers. Status 0 closes the connection."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


def answer(
    text: Any = "", *, usage: Any = None, model: str = "judge", finish: Any = "stop", **message: Any
) -> Answer:
    """Return a usual answer; `message` adds fields to the message or replaces them."""
    counts = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120} if usage is None else usage
    inner = {"role": "assistant", "content": text} | message
    choice = {"index": 0, "finish_reason": finish, "message": inner}
    return Answer(200, {"id": "x", "model": model, "choices": [choice], "usage": counts})


def error(status: int, message: Any = "no", headers: dict[str, str] | None = None, **fields: Any) -> Answer:
    """Return an error in OpenAI's form."""
    return Answer(status, {"error": {"message": message} | fields}, headers or {})


class Provider:
    """A server; `reply` is the Answer to every request, or a function from its body to the Answer."""

    def __init__(self, reply: Callable[[dict[str, Any]], Answer] | Answer) -> None:
        self.reply = reply
        self.bodies: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        lock, provider = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    provider.bodies.append(body)
                said = provider.reply(body) if callable(provider.reply) else provider.reply
                provider.statuses.append(said.status)
                if not said.status:
                    self.close_connection = True
                    return
                data = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
                self.send_response(said.status)
                for name, value in said.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Provider:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class TokenLimit:
    """A limit in tokens a minute, as a bucket that is full at first and refills evenly; each call takes `each`.

    Args:
        per_minute: tokens a minute, also the size of the bucket.
        each: tokens of a call.
        reply: gives the answer to an admitted call.
        headers: those of a refusal, from the exact seconds to wait.
    """

    def __init__(
        self,
        per_minute: float,
        each: float,
        reply: Callable[[dict[str, Any]], Answer],
        headers: Callable[[float], dict[str, str]] = lambda s: {"retry-after-ms": str(int(1000 * s) + 1)},
    ) -> None:
        self.rate, self.size, self.each = per_minute / 60, per_minute, each
        self.level, self.at = per_minute, time.monotonic()
        self.refused = 0
        self._reply, self._headers, self._lock = reply, headers, threading.Lock()

    def __call__(self, body: dict[str, Any]) -> Answer:
        with self._lock:
            now = time.monotonic()
            self.level = min(self.size, self.level + (now - self.at) * self.rate)
            self.at = now
            if self.level < self.each:
                self.refused += 1
                wait = (self.each - self.level) / self.rate
                return error(429, "Rate limit reached", self._headers(wait), code="rate_limit_exceeded")
            self.level -= self.each
        return self._reply(body)
