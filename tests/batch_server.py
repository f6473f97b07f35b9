"""A provider's batch endpoint as a scripted server in this process, which keeps account of what was bought.

    with BatchServer(endings=["expired", "completed"]) as server:
        EndpointSettings("judge", base_url=server.url)
        server.bought   # replies delivered, by custom_id

An ending is one of ENDINGS; batches take them in the order of their creation, the last one for all that follow. With
`fault_share`, so many of the calls fail by a seeded script: refused, or done with the response lost.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.fault_server import NAMES, content, scores_for, unit

ENDINGS = ("completed", "partial", "torn", "errors", "expired", "cancelled", "failed", "unreadable", "never")


class BatchServer:
    """The server, as a context manager. polls: looks at a batch until it has ended."""

    def __init__(
        self,
        endings: list[str] | None = None,
        *,
        polls: int = 1,
        fault_share: float = 0.0,
        seed: int = 0,
        text: str = "",
    ) -> None:
        self.endings, self.polls, self.fault_share, self.seed = (
            endings or ["completed"],
            polls,
            fault_share,
            seed,
        )
        self.text = text  # of every reply; by default scores that depend on what was asked
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.bought: Counter[str] = Counter()
        self.live: list[dict[str, Any]] = []
        self.calls = 0
        self._looks: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> BatchServer:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def act(self, method: str, path: str, raw: bytes) -> tuple[int, bytes] | None:
        """Do what a call asks for; None loses the response."""
        with self._lock:
            self.calls += 1
            fate = unit(self.seed, "fate", self.calls)
            if fate < self.fault_share / 2 and "chat" not in path:
                return 500, b'{"error": {"message": "scripted"}}'
            status, answer = self._do(method, path, raw)
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            return None if fate < self.fault_share and "chat" not in path else (status, data)

    def _do(self, method: str, path: str, raw: bytes) -> tuple[int, Any]:
        path, _, query = path.partition("?")
        if (method, path) == ("POST", "/v1/files"):
            name = f"file-{len(self.files)}"
            self.files[name] = raw
            return 200, {
                "id": name,
                "object": "file",
                "bytes": len(raw),
                "created_at": 0,
                "filename": "x",
                "purpose": "batch",
            }
        if (method, path) == ("POST", "/v1/batches"):
            return 200, self._create(json.loads(raw))
        if path == "/v1/batches":
            after = re.search(r"after=([\w-]+)", query)
            names = list(self.batches)[::-1]
            names = names[names.index(after[1]) + 1 :] if after else names
            return 200, {
                "object": "list",
                "data": [self.batches[n] for n in names[:100]],
                "has_more": len(names) > 100,
            }
        if found := re.fullmatch(r"/v1/batches/([\w-]+)", path):
            return 200, self._look(found[1])
        if found := re.fullmatch(r"/v1/files/([\w-]+)/content", path):
            return 200, self.files[found[1]]
        if path == "/v1/chat/completions":
            body = json.loads(raw)
            self.live.append(body)
            return 200, _envelope(content("ok", scores_for(body["messages"], NAMES)))
        return 404, {"error": {"message": f"no {path}"}}

    def _create(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = f"batch_{len(self.batches)}"
        self.batches[name] = {
            "id": name, "object": "batch", "endpoint": asked["endpoint"], "completion_window": "24h", "created_at": 0,
            "input_file_id": asked["input_file_id"], "metadata": asked.get("metadata"), "status": "in_progress",
            "ending": self.endings[min(len(self.batches), len(self.endings) - 1)],
        }  # fmt: skip
        return self.batches[name]

    def _look(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        self._looks[name] += 1
        if batch["status"] == "in_progress" and self._looks[name] > self.polls and batch["ending"] != "never":
            self._end(batch)
        return batch

    def _end(self, batch: dict[str, Any]) -> None:
        ending = batch["ending"]
        batch["status"] = ending if ending in ("expired", "cancelled", "failed") else "completed"
        if ending == "failed":
            batch["errors"] = {
                "data": [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}]
            }
            return
        asked = [json.loads(line) for line in self.lines(batch["input_file_id"])]
        kept = asked if ending in ("completed", "unreadable", "errors") else asked[: len(asked) // 2]
        refused = kept[::3] if ending == "errors" else []
        good = [line for line in kept if line not in refused]
        text = "no idea" if ending == "unreadable" else self.text
        out = [self._answer(line, text) for line in reversed(good)]  # in an order of its own
        if ending == "torn":
            out.append(out[0][: len(out[0]) // 2])
        batch["output_file_id"] = self._file(out)
        batch["error_file_id"] = self._file([_refusal(line) for line in refused]) if refused else None

    def _answer(self, line: dict[str, Any], text: str) -> bytes:
        self.bought[line["custom_id"]] += 1
        text = text or content("ok", scores_for(line["body"]["messages"], NAMES))
        response = {"status_code": 200, "request_id": "r", "body": _envelope(text)}
        return json.dumps(
            {"id": "b", "custom_id": line["custom_id"], "response": response, "error": None}
        ).encode()

    def _file(self, lines: list[bytes]) -> str:
        name = f"file-{len(self.files)}"
        self.files[name] = b"\n".join(lines) + b"\n"
        return name

    def lines(self, file: str) -> list[bytes]:
        """Return the requests in an uploaded file."""
        return [line.strip() for line in self.files[file].splitlines() if line.startswith(b'{"custom_id"')]


def _envelope(text: str) -> dict[str, Any]:
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return {"id": "x", "model": "judge", "choices": [choice], "usage": usage}


def _refusal(line: dict[str, Any]) -> bytes:
    body = {"error": {"message": "the text was refused", "code": "content_policy_violation"}}
    response = {"status_code": 400, "request_id": "r", "body": body}
    return json.dumps(
        {"id": "b", "custom_id": line["custom_id"], "response": response, "error": None}
    ).encode()


def _handler(server: BatchServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _serve(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = server.act(self.command, self.path, raw)
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer[0])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer[1])))
            self.end_headers()
            self.wfile.write(answer[1])

        do_GET = do_POST = _serve  # noqa: N815

    return Handler
