"""The HTTP client: verified TLS, bounded answers, connections that are used again, proxies."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2
import pytest

from gip_exp.llm.connections import http_client
from gip_exp.llm.settings import EndpointSettings

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of its own for localhost."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    words = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
    ]
    words += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(path), "-out", str(path) + ".crt"]
    subprocess.run(words, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(str(path) + ".crt").read_bytes())
    return path


def post(
    handler: Handler, times: int = 1, served: ssl.SSLContext | None = None, path: str = "/v1"
) -> list[str]:
    """Bodies of the answers to `times` requests, one after the other."""

    async def exchange() -> list[str]:
        server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=served)
        scheme = "https" if served else "http"
        address = f"{scheme}://localhost:{server.sockets[0].getsockname()[1]}{path}"
        async with http_client(EndpointSettings("judge", base_url=address)) as client:
            try:
                return [(await client.post(address, content=b"body")).text for _ in range(times)]
            finally:
                server.close()

    return asyncio.run(exchange())


def answering(connections: list[str], reply: Callable[[bytes], bytes]) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append("")
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                connections[-1] += head.decode()
                writer.write(reply(await reader.readexactly(4)))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return handle


def chunked(body: bytes) -> bytes:
    data = b"hello " + body
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)


def test_a_connection_is_used_again_over_tls(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    connections: list[str] = []
    texts = post(answering(connections, chunked), 3, served, "/openai/deployments/a%2Fb?q=1")
    assert texts == ["hello body"] * 3
    assert len(connections) == 1
    assert connections[0].startswith("POST /openai/deployments/a%2Fb?q=1 HTTP/1.1\r\n")


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path) -> None:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate)
    with pytest.raises(httpx2.TransportError, match="certificate"):
        post(answering([], chunked), 1, served)


def test_a_closed_connection_is_not_tried_twice() -> None:
    connections: list[str] = []

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.close()

    with pytest.raises(httpx2.TransportError, match="Server disconnected"):
        post(closing)
    assert len(connections) == 1


def test_a_body_that_is_too_large_or_compressed_is_given_up() -> None:
    def reply(packing: str, data: bytes) -> Callable[[bytes], bytes]:
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {packing}\r\nContent-Length: {len(data)}\r\n\r\n"
        return lambda _: head.encode() + data

    large = bytes((16 << 20) + 1)
    for packing, data, why in (
        ("identity", large, "larger than 16 MiB"),
        ("gzip", gzip.compress(large, 1), r"compressed \(gzip\)"),  # 70 KB on the wire
        ("br", b"x", r"compressed \(br\)"),
    ):
        with pytest.raises(httpx2.RemoteProtocolError, match=why):
            post(answering([], reply(packing, data)))


def test_only_an_endpoint_elsewhere_is_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert post(answering([], chunked)) == ["hello body"]

    async def ask() -> None:
        async with http_client(EndpointSettings("judge", base_url="http://judge.test/v1")) as client:
            await client.post("http://judge.test/v1", content=b"x")

    with pytest.raises(httpx2.TransportError, match=r"127\.0\.0\.1:9"):
        asyncio.run(ask())
