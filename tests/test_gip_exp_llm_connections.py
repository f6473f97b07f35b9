"""The transport under httpx: TLS that is verified, compressed and chunked replies, connections that are used again."""

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

from gip_exp.llm.connections import AiohttpTransport

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


async def post(
    handler: Handler, connect: ssl.SSLContext | bool, times: int, served: ssl.SSLContext | None
) -> list[str]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=served)
    scheme = "https" if served else "http"
    address = f"{scheme}://localhost:{server.sockets[0].getsockname()[1]}/a%2Fb?q=a%20b"
    async with httpx2.AsyncClient(transport=AiohttpTransport(connect)) as client:
        try:
            return [(await client.post(address, content=b"body")).text for _ in range(times)]
        finally:
            server.close()


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


def chunked_and_compressed(body: bytes) -> bytes:
    data = gzip.compress(b"hello " + body)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n" % len(data) + data + b"\r\n0\r\n\r\n"


def test_a_connection_is_used_again_and_a_reply_unpacked_over_tls(certificate: Path) -> None:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate) + ".crt")
    connections: list[str] = []
    texts = asyncio.run(post(answering(connections, chunked_and_compressed), trusting, 3, served))
    assert texts == ["hello body"] * 3
    assert len(connections) == 1
    assert connections[0].startswith("POST /a%2Fb?q=a%20b HTTP/1.1\r\n")  # the address is left as it is


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path) -> None:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificate)
    handler = answering([], chunked_and_compressed)
    with pytest.raises(httpx2.ConnectError, match="certificate"):
        asyncio.run(post(handler, httpx2.create_ssl_context(), 1, served))


def test_a_closed_connection_is_no_timeout_and_is_not_tried_twice() -> None:
    connections: list[str] = []

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.close()

    with pytest.raises(httpx2.RemoteProtocolError, match="the server closed the connection"):
        asyncio.run(post(closing, False, 1, None))
    assert len(connections) == 1


def test_a_body_cut_short_says_so() -> None:
    def cut(_: bytes) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(cut(b""))
        await writer.drain()
        writer.close()

    with pytest.raises(httpx2.RemoteProtocolError, match="closed within the body"):
        asyncio.run(post(handler, False, 1, None))


def test_a_body_without_end_is_given_up_packed_or_not() -> None:
    def reply(packing: str, data: bytes) -> Callable[[bytes], bytes]:
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {packing}\r\nContent-Length: {len(data)}\r\n\r\n"
        return lambda _: head.encode() + data

    large = bytes((16 << 20) + 1)
    for packing, data, why in (
        ("identity", large, "larger than 16 MiB"),
        ("gzip", gzip.compress(large, 1), "larger than 16 MiB"),  # 70 KB on the wire
        ("gzip", b"no gzip", "cannot be unpacked"),
        ("br", b"x", "packed as 'br'"),
    ):
        with pytest.raises(httpx2.RemoteProtocolError, match=why):
            asyncio.run(post(answering([], reply(packing, data)), False, 1, None))


def test_nobody_listening_is_a_connect_error() -> None:
    async def ask() -> None:
        async with httpx2.AsyncClient(transport=AiohttpTransport(False)) as client:
            await client.post("http://127.0.0.1:9/v1", content=b"x")

    with pytest.raises(httpx2.ConnectError):
        asyncio.run(ask())
