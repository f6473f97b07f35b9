"""Send one request once: the endpoint's answer becomes a Reply or a Fault, never an exception.

The `openai` package provides addresses, authentication and Azure's paths. Its retries are off, because ours are
counted; its lenient response models are bypassed, because we must distinguish valid envelopes from invalid ones. No
exception leaves this module, because an exception holds the request and with it the key.
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
import os
import time
from collections.abc import Mapping
from typing import Any

import httpx2
import openai

from gip_exp.llm import connections
from gip_exp.llm.errors import LLMError, redact, secrets_in_environment, shorten
from gip_exp.llm.request import Fault, Reply, Request
from gip_exp.llm.settings import EndpointSettings
from gip_exp.llm.wire import Quirks, build_body, read_envelope

PLACEHOLDER_KEY = "no-key-needed"
_QUOTA = ("insufficient_quota", "billing_hard_limit_reached", "exceeded your current quota")


class Transport:
    """A connection pool to one endpoint; `quirks` holds what has been learned about it."""

    def __init__(self, settings: EndpointSettings) -> None:
        settings.check()
        self.settings = settings
        self.quirks = Quirks.of(settings)
        self._secrets = secrets_in_environment([settings.key_variable])
        self._client = _openai_client(settings)

    def __repr__(self) -> str:
        return f"Transport(model={self.settings.model!r}, base_url={self.settings.base_url!r})"

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def send(self, request: Request) -> Reply | Fault:
        """Send `request` once and return the outcome."""
        body = build_body(request, self.settings, self.quirks)
        path = "/chat/completions" if request.prompt is None else "/completions"
        answer = await self._post(path, body)
        if isinstance(answer, Fault):
            return self._judge_fault(answer, request, body)
        envelope = read_envelope(answer, request)
        if isinstance(envelope, Fault):
            # The beginning of the body is more informative than our verdict.
            start = shorten(self._clean(answer[:400].decode("utf-8", "replace")), 160)
            return Fault(envelope.kind, f"{envelope.detail}; it begins: {start!r}")
        kept = (envelope.text, envelope.refusal or "", envelope.model, envelope.finish_reason)
        if any(secret in text for text in kept for secret in self._secrets):
            raise LLMError(
                "the endpoint's reply contains the API key and is not stored. Do not use this endpoint."
            )
        return envelope

    async def _post(self, path: str, body: Mapping[str, Any]) -> bytes | Fault:
        """Return the body of a 200 response, or a Fault."""
        try:
            # The only clock of a call: it ends a slow stream as well.
            async with asyncio.timeout(self.settings.timeout_s):
                response = await self._client.post(path, cast_to=httpx2.Response, body=dict(body))
                return response.content
        except TimeoutError:
            return Fault("timeout", f"no complete reply within {self.settings.timeout_s:g} s")
        except openai.APIStatusError as error:
            return self._status_fault(error)
        except openai.APIConnectionError as error:
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            return Fault("connection", self._clean(f"{type(cause).__name__}: {cause}"))
        except openai.OpenAIError as error:
            return Fault("connection", self._clean(f"{type(error).__name__}: {error}"))
        except httpx2.HTTPError as error:
            return Fault("connection", self._clean(f"{type(error).__name__}: {error}"))

    def _status_fault(self, error: openai.APIStatusError) -> Fault:
        status, headers = error.status_code, error.response.headers
        detail = shorten(self._clean(str(error)))
        wait = retry_after_s(headers)
        if status == 429 and any(word in detail for word in _QUOTA):
            return Fault("http 429", f"{detail} (the account has no money left)", retry=False, fatal=True)
        if status in (401, 403):
            remedy = f"check the key in {self.settings.key_variable} and its rights"
            return Fault(f"http {status}", f"{detail} ({remedy})", retry=False, fatal=True)
        if status == 404:
            remedy = f"check model={self.settings.model!r} and base_url={self.settings.base_url!r}"
            return Fault("http 404", f"{detail} ({remedy})", retry=False, fatal=True)
        retry = status in (408, 409, 425, 429) or status >= 500
        return Fault(f"http {status}", detail, retry=retry, retry_after_s=wait)

    def _judge_fault(self, fault: Fault, request: Request, sent: Mapping[str, Any]) -> Fault:
        """Learn from an error about a parameter; such a call can be sent again in another form."""
        if fault.kind not in ("http 400", "http 422"):
            return fault
        before = build_body(request, self.settings, self.quirks)
        if before == sent:
            self.quirks.learn(fault.detail)
        if build_body(request, self.settings, self.quirks) == sent:
            return fault
        return Fault("adapted", fault.detail, retry=True)

    def _clean(self, text: str) -> str:
        return redact(text, self._secrets)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `retry-after-ms` or `retry-after` (seconds or a date) asks to wait."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after")
        if value is None:
            return None
        if value.strip().replace(".", "", 1).isdigit():
            return float(value)
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _openai_client(settings: EndpointSettings) -> openai.AsyncOpenAI:
    """Return the `openai` client for these settings, its key taken from the environment."""
    _quiet_request_logs()
    key = os.environ.get(settings.key_variable, "").strip()
    if not key and settings.base_url is None:
        raise LLMError(
            f"{settings.key_variable} is not set. Export it, or name a server that needs no key with "
            "base_url (for instance base_url=http://127.0.0.1:8000/v1)."
        )
    if not key and settings.provider == "azure":
        raise LLMError(f"{settings.key_variable} is not set. Export the key of your Azure resource.")
    http_client = connections.http_client(settings)
    if settings.provider == "azure":
        return openai.AsyncAzureOpenAI(
            azure_endpoint=settings.base_url or "",
            api_key=key,
            api_version=settings.api_version,
            max_retries=0,
            http_client=http_client,
        )
    return openai.AsyncOpenAI(
        api_key=key or PLACEHOLDER_KEY, base_url=settings.base_url, max_retries=0, http_client=http_client
    )


def _quiet_request_logs() -> None:
    """Turn off one log line per request (and, at DEBUG, its headers), which is useless for 50,000 requests."""
    for name in ("httpx2", "httpcore2", "openai"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
