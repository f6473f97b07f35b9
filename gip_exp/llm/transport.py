"""Send one request once: the endpoint's answer becomes a Reply or a Fault, never an exception.

The `openai` package provides addresses, authentication and Azure's paths. Its retries are off, because ours are
counted; its lenient response models are bypassed, because we must distinguish valid envelopes from invalid ones. No
exception leaves this module, because an exception holds the request and with it the key.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import httpx2
import openai

from gip_exp.llm import connections
from gip_exp.llm.envelope import read_envelope
from gip_exp.llm.errors import LLMError, redact, secrets_in_environment, shorten
from gip_exp.llm.faults import read_error, status_fault
from gip_exp.llm.request import Fault, Reply, Request
from gip_exp.llm.settings import OPENAI_URL, URL_VARIABLE, EndpointSettings
from gip_exp.llm.wire import Quirks, build_body

PLACEHOLDER_KEY = "no-key-needed"
_FORMS_TRIED = 8  # of one request, at most


class Transport:
    """A connection pool to one endpoint; `quirks` is the form that it accepts, as far as is known.

    Args:
        settings: the endpoint.
        note: told once about each thing that is no longer sent.
    """

    def __init__(self, settings: EndpointSettings, note: Callable[[str], None] = lambda _: None) -> None:
        settings.check()
        self.settings = settings
        self.quirks = Quirks.of(settings)
        self._note = note
        self._secrets = secrets_in_environment([settings.key_variable])
        self._client = openai_client(settings)

    def __repr__(self) -> str:
        return f"Transport(model={self.settings.model!r}, base_url={self.settings.base_url!r})"

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def send(
        self, request: Request, adapted: Callable[[Fault], None] = lambda _: None
    ) -> Reply | Fault:
        """Send `request` and return the outcome.

        A refusal of the form (a parameter, a schema) is sent again in another form; `adapted` is told of each such
        refusal. The form is kept for later requests only if it brought a reply.
        """
        form = first = self.quirks
        loose = False
        for _ in range(_FORMS_TRIED):
            body = build_body(request, self.settings, form)
            outcome, raw = await self._send_once(request, body)
            if isinstance(outcome, Reply):
                self._keep(form, first if loose else None)
                return outcome
            if outcome.kind not in ("http 400", "http 422") or outcome.retry or outcome.fatal:
                return outcome
            other = self._other_form(form, raw)
            loose = loose or (other is not None and other == form.without_format())
            if other is None or build_body(request, self.settings, other) == body:
                return outcome
            adapted(outcome)
            form = other
        return outcome

    def _other_form(self, form: Quirks, raw: bytes) -> Quirks | None:
        """Return the form to try after a refusal, or None if the text itself is refused."""
        said = read_error(raw)
        if said.about_the_row:
            return None
        named = form.after(said.message)
        return form.without_format() if named == form else named

    def _keep(self, form: Quirks, refused: Quirks | None) -> None:
        """Keep a form that brought a reply.

        If the request passed only without any form of the reply, `refused` is the form it had at first. Then the next
        request tries the next looser one, since that may pass.
        """
        before = self.quirks
        if refused is not None and form.structured == "none":
            form = replace(form, structured=refused.looser().structured)
        self.quirks = before.join(form)
        for what in self.quirks.dropped(before):
            self._note(f"{self.settings.model} does not accept all that was asked: {what}")

    async def _send_once(self, request: Request, body: Mapping[str, Any]) -> tuple[Reply | Fault, bytes]:
        """Return the outcome, and the body of an error response."""
        path = "/chat/completions" if request.prompt is None else "/completions"
        answer = await self._post(path, body)
        if isinstance(answer, tuple):
            return answer
        envelope = read_envelope(answer, request)
        if isinstance(envelope, Fault):
            # The beginning of the body is more informative than our verdict.
            start = shorten(self._clean(answer[:4000].decode("utf-8", "replace"))[:400], 160)
            return Fault(envelope.kind, f"{envelope.detail}; it begins: {start!r}"), b""
        kept = (envelope.text, envelope.refusal or "", envelope.model, envelope.finish_reason)
        if any(secret in text for text in kept for secret in self._secrets):
            raise LLMError(
                "the endpoint's reply contains the API key and is not stored. Do not use this endpoint."
            )
        return envelope, b""

    async def _post(self, path: str, body: Mapping[str, Any]) -> bytes | tuple[Fault, bytes]:
        """Return the body of a 200 response, or a Fault with the body of the error."""
        try:
            # The only clock of a call: it ends a slow stream as well.
            async with asyncio.timeout(self.settings.timeout_s):
                response = await self._client.post(path, cast_to=httpx2.Response, body=dict(body))
                return response.content
        except TimeoutError:
            return Fault("timeout", f"no complete reply within {self.settings.timeout_s:g} s"), b""
        except openai.APIStatusError as error:
            raw = error.response.content  # read by the package before it raises
            headers = {name.lower(): value for name, value in error.response.headers.items()}
            fault = status_fault(
                error.status_code, headers, raw, clean=self._clean, remedies=self._remedies()
            )
            return fault, raw
        except connections.FAILURES as error:
            return Fault("connection", shorten(self._clean(connections.cause_of(error)))), b""

    def _remedies(self) -> dict[int, str]:
        rights = f"check the key in {self.settings.key_variable} and its rights"
        address = f"check model={self.settings.model!r} and base_url={self.settings.base_url!r}"
        return {401: rights, 403: rights, 404: address}

    def _clean(self, text: str) -> str:
        return redact(text, self._secrets)


def openai_client(settings: EndpointSettings, largest: int = connections.LARGEST) -> openai.AsyncOpenAI:
    """Return the `openai` client for these settings, its key taken from the environment; `largest` bounds a body."""
    _quiet_request_logs()
    key = os.environ.get(settings.key_variable, "").strip()
    if not key and settings.base_url is None:
        raise LLMError(
            f"{settings.key_variable} is not set. Export it, or name a server that needs no key with "
            "base_url (for instance base_url=http://127.0.0.1:8000/v1)."
        )
    if not key and settings.provider == "azure":
        raise LLMError(f"{settings.key_variable} is not set. Export the key of your Azure resource.")
    if settings.base_url is None and os.environ.get(URL_VARIABLE, "").strip():
        raise LLMError(
            f"{URL_VARIABLE} is set, but which server replied must be in the config: give its address as "
            f"base_url, or unset {URL_VARIABLE}."
        )
    http_client = connections.http_client(settings, largest)
    if settings.provider == "azure":
        return openai.AsyncAzureOpenAI(
            azure_endpoint=settings.base_url or "",
            api_key=key,
            api_version=settings.api_version,
            max_retries=0,
            http_client=http_client,
        )
    return openai.AsyncOpenAI(
        api_key=key or PLACEHOLDER_KEY,
        base_url=settings.base_url or OPENAI_URL,  # otherwise the package would read OPENAI_BASE_URL
        max_retries=0,
        http_client=http_client,
    )


def _quiet_request_logs() -> None:
    """Turn off one log line per request (and, at DEBUG, its headers), which is useless for 50,000 requests."""
    for name in ("httpx2", "httpcore2", "openai"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
