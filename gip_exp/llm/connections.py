"""HTTP client of an endpoint: the `openai` package's aiohttp client, with a bound on the size of an answer.

httpx's own connection pool and parser cost more processor time than everything else a call does.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import AsyncIterator
from functools import partial
from typing import cast

import aiohttp
import httpx2
import openai

from gip_exp.llm.settings import EndpointSettings

_IDLE_S = 30  # time after which an idle connection is closed
LARGEST = (
    16 * 2**20
)  # bytes of a body: replies have a few thousand; bounds the memory that an endpoint can fill
_LOOPBACK = ("127.0.0.1", "localhost", "::1")  # no proxy can reach it

# What a call may raise. A response that is not valid HTTP comes as aiohttp's own error, which `openai` does not convert.
FAILURES = (openai.OpenAIError, httpx2.HTTPError, aiohttp.ClientError)


def cause_of(error: BaseException) -> str:
    """Return the first cause of a failure; it may hold secrets."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


class _Bounded(httpx2.AsyncByteStream):
    """The stream of a body; raises once the body is too large."""

    def __init__(self, stream: httpx2.AsyncByteStream, largest: int) -> None:
        self._stream, self._largest = stream, largest

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._stream:
            size += len(part)
            if size > self._largest:
                raise httpx2.RemoteProtocolError(f"the body is larger than {self._largest >> 20} MiB")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bound(response: httpx2.Response, largest: int) -> None:
    """Bound the body; refuse a compressed one, whose size is known only once it fills the memory."""
    packing = response.headers.get("Content-Encoding", "identity")
    if packing != "identity":
        raise httpx2.RemoteProtocolError(
            f"the body is compressed ({packing}), but compression was not requested"
        )
    response.stream = _Bounded(cast(httpx2.AsyncByteStream, response.stream), largest)


def http_client(settings: EndpointSettings, largest: int = LARGEST) -> httpx2.AsyncClient:
    """Return an HTTP client for `concurrency` calls in flight; proxies of the environment are respected.

    A body of more than `largest` bytes is refused.

    It has no timeout: `Transport` limits the time of a whole call.
    """
    host = urllib.parse.urlsplit(settings.base_url or "").hostname
    return openai.DefaultAioHttpClient(
        headers={"Accept-Encoding": "identity"},
        event_hooks={"response": [partial(_bound, largest=largest)]},
        limits=httpx2.Limits(max_connections=settings.concurrency, keepalive_expiry=_IDLE_S),
        timeout=None,
        trust_env=host not in _LOOPBACK,
        verify=httpx2.create_ssl_context(),
        follow_redirects=False,
    )
