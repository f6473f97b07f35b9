"""A judge's endpoint that misbehaves in one way per address: `http://127.0.0.1:PORT/<case>/v1`.

`python tests/bad_endpoint_server.py` prints its port and serves until its input ends. What a case does is in
`bad_endpoint_cases`. `GET /account/<case>` says what was asked, `GET /mend/<case>` makes it behave from then on. Rows carry a
mark (`R0007`), from which their grades follow, so that a grade under the wrong row is seen.
"""

import asyncio
import hashlib
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from bad_endpoint_cases import CASES, NAMES, Ask, Case, http, reply

MARK = re.compile(r"R(\d{4})")


def grades(row: int) -> dict[str, int]:
    """The grades of a row."""
    return {name: 1 + hashlib.sha256(f"{row} {name}".encode()).digest()[0] % 5 for name in NAMES}


@dataclass
class Account:
    """What one case was asked: requests by row, good replies by row, requests where none belongs."""

    asked: Counter[int] = field(default_factory=Counter)
    good: Counter[int] = field(default_factory=Counter)
    elsewhere: int = 0
    mended: bool = False


ACCOUNTS = {name: Account() for name in CASES}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve a connection until it ends."""
    try:
        while await _one(reader, writer):
            pass
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
        pass  # the client has gone
    except asyncio.CancelledError:
        pass  # the server is ending
    finally:
        writer.close()


async def _one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    length = re.search(r"(?i)content-length: *(\d+)", head)
    raw = await reader.readexactly(int(length[1]) if length else 0)
    _, kind, *rest = head.split(" ")[1].split("/")
    if kind in ("account", "mend"):
        writer.write(http(_control(kind, rest[0])))
    elif kind not in CASES or rest[:1] != ["v1"]:
        ACCOUNTS[rest[0]].elsewhere += 1
        writer.write(http(reply(dict.fromkeys(NAMES, 1))))
    elif not raw:
        writer.write(http({}))  # whether anybody is there
    else:
        return await _asked(CASES[kind], head, raw, writer)
    await writer.drain()
    return True


def _control(kind: str, name: str) -> dict[str, Any]:
    account = ACCOUNTS[name]
    account.mended = account.mended or kind == "mend"
    return {"asked": account.asked, "good": account.good, "elsewhere": account.elsewhere}


async def _asked(case: Case, head: str, raw: bytes, writer: asyncio.StreamWriter) -> bool:
    account = ACCOUNTS[case.name]
    row = int(MARK.findall(raw.decode())[-1])
    before, total = account.asked[row], account.asked.total()
    account.asked[row] += 1
    if account.mended or not case.meets(row, before, total):
        account.good[row] += 1
        writer.write(http(reply(grades(row))))
        await writer.drain()
        return True
    key = re.search(r"(?i)authorization: *bearer +(\S+)", head)
    ask = Ask(case.name, row, before, grades(row), key[1] if key else "", head.split("\r\n")[1])
    return await case.behave(ask, writer)


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
