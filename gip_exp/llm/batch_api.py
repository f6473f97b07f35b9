"""The provider's side of batches: upload, create, find, look, download. Every problem is an LLMError with a reason."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import openai

from gip_exp.llm import connections
from gip_exp.llm.batch_records import BatchRecord
from gip_exp.llm.envelope import read_envelope
from gip_exp.llm.errors import LLMError, redact, secrets_in_environment, shorten
from gip_exp.llm.faults import read_error
from gip_exp.llm.request import Reply, Request
from gip_exp.llm.settings import EndpointSettings
from gip_exp.llm.transport import openai_client
from gip_exp.llm.wire import Quirks, build_body

T = TypeVar("T")

_CHAT = Request(
    messages=({"role": "user", "content": ""},)
)  # what replies in a batch belong to, as far as they are read
ENDINGS = ("completed", "failed", "expired", "cancelled")
METADATA = "gip_batch"  # name of the metadata field with our name of a batch
LISTED = 1_000  # newest batches of the account among which a lost one is looked for
_CALL_S = 600.0  # for one call, uploads and downloads of 200 MB included
_LARGEST = 2**31  # bytes of a file of replies


@dataclass(frozen=True)
class Look:
    """A batch as the provider sees it; `ended` is one of ENDINGS, or "" while replies are to come."""

    ended: str
    done: int
    total: int
    files: tuple[str, ...]
    reason: str


class BatchApi:
    """Batch calls to one endpoint, as an async context manager."""

    def __init__(self, settings: EndpointSettings) -> None:
        settings.check()
        self.settings = settings
        self._client = openai_client(settings, largest=_LARGEST)
        self._secrets = secrets_in_environment([settings.key_variable])

    async def __aenter__(self) -> BatchApi:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def upload(self, record: BatchRecord, lines: Sequence[bytes]) -> str:
        """Upload the requests and return the id of the file."""
        file = (f"{record.name}.jsonl", b"\n".join(lines) + b"\n")
        return (await self._call("uploading", self._client.files.create(file=file, purpose="batch"))).id

    async def create(self, record: BatchRecord) -> str:
        """Have the provider make the batch of an uploaded file, and return its id."""
        made = self._client.batches.create(
            input_file_id=record.file_id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={METADATA: record.name},
        )
        return (await self._call("creating", made)).id

    async def find(self, record: BatchRecord) -> str:
        """Return the id of the batch that was made for a record, or "" if the provider has none."""

        async def search() -> str:
            seen = 0
            async for batch in self._client.batches.list(limit=100):
                ours = (batch.metadata or {}).get(METADATA) == record.name
                if ours or (record.file_id and batch.input_file_id == record.file_id):
                    return batch.id
                seen += 1
                if seen >= LISTED:
                    break
            return ""

        return await self._call("listing", search())

    async def look(self, record: BatchRecord) -> Look:
        """Return the state of a batch."""
        batch = await self._call("reading", self._client.batches.retrieve(record.batch_id))
        counts = batch.request_counts
        done = (counts.completed or 0) + (counts.failed or 0) if counts else 0
        reasons = (
            [error.message or error.code or "" for error in (batch.errors.data or [])] if batch.errors else []
        )
        return Look(
            ended=batch.status if batch.status in ENDINGS else "",
            done=done,
            total=len(record.keys),
            files=tuple(file for file in (batch.output_file_id, batch.error_file_id) if file),
            reason=shorten(self._clean("; ".join(dict.fromkeys(reasons)))),
        )

    async def lines(self, file_id: str) -> list[bytes]:
        """Return the lines of a file of replies."""
        content = await self._call("downloading", self._client.files.content(file_id))
        return content.content.splitlines()

    def check(self, reply: Reply) -> None:
        """Raise LLMError if a reply contains the API key, which must not be stored."""
        kept = (reply.text, reply.refusal or "", reply.model, reply.finish_reason)
        if any(secret in text for text in kept for secret in self._secrets):
            raise LLMError(
                "a reply in a batch contains the API key and is not stored. Do not use this endpoint."
            )

    async def _call(self, doing: str, call: Awaitable[T]) -> T:
        where = self.settings.base_url or "the provider"
        try:
            async with asyncio.timeout(_CALL_S):
                return await call
        except TimeoutError:
            why = f"no answer within {_CALL_S:g} s"
        except openai.APIStatusError as error:
            why = f"http {error.status_code}: {shorten(self._clean(error.response.text))}"
            if error.status_code == 404:
                why += " (does this endpoint have a batch API? Set judge.batch=false if not)"
        except connections.FAILURES as error:
            why = shorten(self._clean(connections.cause_of(error)))
        raise LLMError(
            f"{self.settings.model}: {doing} a batch at {where} failed: {why}. Nothing is lost: start again to go on."
        )

    def _clean(self, text: str) -> str:
        return redact(text, self._secrets)


def line_of(key: str, request: Request, settings: EndpointSettings) -> bytes:
    """Return one line of a batch's input file; its `custom_id` is the cache key."""
    body = build_body(request, settings, Quirks.of(settings))
    line: dict[str, Any] = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(line, ensure_ascii=True, separators=(",", ":")).encode()


def read_line(raw: bytes) -> tuple[str, Reply | str]:
    """Return the key in a line of a batch's output ("" for a torn or foreign line), and its reply or why there is none."""
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return "", "not JSON"
    if not isinstance(line, dict) or not isinstance(line.get("custom_id"), str):
        return "", "no custom_id"
    response = line.get("response")
    status, body = (
        (response.get("status_code"), response.get("body")) if isinstance(response, dict) else (None, None)
    )
    if status == 200 and isinstance(body, dict):
        outcome = read_envelope(json.dumps(body).encode(), _CHAT)
        return line["custom_id"], outcome if isinstance(outcome, Reply) else str(outcome)
    said = read_error(json.dumps((line.get("error") and {"error": line["error"]}) or body).encode())
    return line["custom_id"], shorten(f"http {status}: {said.message}" if status else said.message, 160)
