"""Many connections to one host, kept cheap.

httpx's pool looks at every idle connection for every request: at 64 in flight that is a third of a client's
time. Here requests go round a few small pools instead; each stays as short as its share of the calls.
"""

from __future__ import annotations

import itertools
import ssl
import urllib.request
from urllib.parse import urlsplit

import httpx2

from gip_exp.llm.settings import EndpointSettings

_PER_POOL = 4


class RoundRobin(httpx2.AsyncBaseTransport):
    """Hands each request to the next of several transports, which share one TLS context."""

    def __init__(self, pools: int, connect: ssl.SSLContext | bool) -> None:
        # No cap: the client's slots bound the connections, and a pool may briefly get more than its share.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=_PER_POOL, keepalive_expiry=30)
        self._pools = [httpx2.AsyncHTTPTransport(verify=connect, limits=limits) for _ in range(pools)]
        self._next = itertools.cycle(self._pools)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request."""
        return await next(self._next).handle_async_request(request)

    async def aclose(self) -> None:
        """Close every pool."""
        for pool in self._pools:
            await pool.aclose()


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
    pools = -(-settings.concurrency // _PER_POOL)
    return httpx2.AsyncClient(
        transport=RoundRobin(pools, connect),
        timeout=settings.timeout_s,
        trust_env=False,
        follow_redirects=False,
    )
