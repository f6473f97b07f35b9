"""Many connections to one host, kept cheap.

httpx's own transport costs more than everything else a call does: its pool looks at every idle connection for every
request, and its HTTP parser is written in Python. Calls go through aiohttp's connections instead (parser in C); the
`openai` package and its httpx client stay in front and notice nothing.
"""

from __future__ import annotations

import ssl
import urllib.request
import zlib
from urllib.parse import urlsplit

import aiohttp
import httpx2
from yarl import URL

from gip_exp.llm.settings import EndpointSettings

_IDLE_S = 30  # an idle connection is kept so long
_LARGEST = 16 * 2**20  # bytes of a body: a reply has some thousand, and an endpoint must not fill the memory
_TOO_LARGE = f"the body is larger than {_LARGEST >> 20} MiB"
_PACKED = {"Accept-Encoding": "gzip"}  # what can be unpacked within the same bound


class _UnwantedBodyError(Exception):
    """A body that is not read to its end or not unpacked."""


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """Sends a request once (aiohttp repeats no POST) and reads the whole body. One event loop."""

    def __init__(self, connect: ssl.SSLContext | bool) -> None:
        self._connect = connect
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request; raise httpx's errors where aiohttp's come."""
        try:
            async with self._open().request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=await request.aread(),
                allow_redirects=False,
            ) as response:
                body = await _whole(response)
                headers = [(k, v) for k, v in response.raw_headers if k.lower() != b"content-encoding"]
                return httpx2.Response(response.status, headers=headers, content=body)
        except TimeoutError as error:
            raise httpx2.ReadTimeout(str(error), request=request) from error
        except aiohttp.ClientConnectorError as error:
            raise httpx2.ConnectError(str(error), request=request) from error
        except _UnwantedBodyError as error:
            raise httpx2.RemoteProtocolError(str(error), request=request) from error
        except aiohttp.ClientPayloadError as error:
            raise httpx2.RemoteProtocolError(
                "the connection closed within the body", request=request
            ) from error
        except aiohttp.ServerDisconnectedError as error:
            raise httpx2.RemoteProtocolError("the server closed the connection", request=request) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise httpx2.ReadError(str(error) or type(error).__name__, request=request) from error

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:  # here, because a session belongs to the running event loop
            # No cap and no timeout: the client's slots bound the calls, its own clock a whole call.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._connect, keepalive_timeout=_IDLE_S),
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # without a bound
                skip_auto_headers=("User-Agent", "Content-Type"),
            )
        return self._session


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    """The body, unpacked; _UnwantedBodyError for one that is too large either way, or packed otherwise than asked for."""
    packing = response.headers.get("Content-Encoding", "identity").lower()
    if packing not in ("identity", "gzip", "x-gzip", "deflate"):
        raise _UnwantedBodyError(f"the body is packed as {packing!r}, which was not asked for")
    packed = bytearray()
    async for part in response.content.iter_any():
        packed += part
        if len(packed) > _LARGEST:
            response.close()
            raise _UnwantedBodyError(_TOO_LARGE)
    if packing == "identity":
        return bytes(packed)
    try:
        body = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(packed, _LARGEST + 1)
    except zlib.error as error:
        raise _UnwantedBodyError(f"the body cannot be unpacked ({error})") from error
    if len(body) > _LARGEST:
        raise _UnwantedBodyError(_TOO_LARGE)
    return body


def http_client(settings: EndpointSettings) -> httpx2.AsyncClient:
    """Return an HTTP client for `concurrency` calls in flight; proxies of the environment are respected."""
    address = urlsplit(settings.base_url or "https://api.openai.com")
    # A proxy cannot reach this machine's loopback.
    local = address.hostname in ("127.0.0.1", "localhost", "::1")
    if not local and urllib.request.getproxies():
        limits = httpx2.Limits(
            max_connections=settings.concurrency, max_keepalive_connections=settings.concurrency
        )
        return httpx2.AsyncClient(limits=limits, timeout=settings.timeout_s, follow_redirects=False)
    connect: ssl.SSLContext | bool = httpx2.create_ssl_context() if address.scheme == "https" else False
    return httpx2.AsyncClient(
        transport=AiohttpTransport(connect),
        headers=_PACKED,
        timeout=settings.timeout_s,
        trust_env=False,
        follow_redirects=False,
    )
