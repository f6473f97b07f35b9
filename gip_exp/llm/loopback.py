"""Access to this process's own servers on this machine, and to no others.

Loopback is shared by all users of the machine. The servers of this process therefore require a random key that is
passed in the environment (command lines are visible to all users), and a port on which another user listens is not
contacted.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gip_exp.llm.errors import redact, shorten

KEY_VARIABLE = "GIP_VLLM_API_KEY"
_ANSWER_S = 300.0  # for our server to load an adapter or to answer a short prompt
_SOCKETS = Path("/proc/net/tcp")
_LISTENS = "0A"


def key() -> str:
    """Return the key of this process's servers, created once and put into the environment, where clients read keys."""
    return os.environ.setdefault(KEY_VARIABLE, secrets.token_urlsafe(24))


def bearer() -> dict[str, str]:
    """Return the header that our servers require."""
    return {"Authorization": f"Bearer {key()}"}


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_ours(port: int, sockets: Path = _SOCKETS) -> bool:
    """Return whether only this user listens on `port`, according to the kernel (Linux; elsewhere assumed)."""
    try:
        rows = [line.split() for line in sockets.read_text().splitlines()[1:]]
    except OSError:
        return True
    owners = {row[7] for row in rows if row[3] == _LISTENS and int(row[1].rpartition(":")[2], 16) == port}
    return owners <= {str(os.getuid())}


def post(address: str, body: Mapping[str, Any], *, json_reply: bool = True) -> Any:
    """Send a request to our server; OSError, or ValueError with its message if it refuses."""
    headers = {"Content-Type": "application/json", **bearer()}
    request = urllib.request.Request(address, json.dumps(body).encode(), headers)
    try:
        with _opener().open(request, timeout=_ANSWER_S) as response:
            return json.load(response) if json_reply else response.read()
    except urllib.error.HTTPError as error:
        raise ValueError(shorten(redact(error.read().decode("utf-8", "replace")))) from None


def served_names(base_url: str) -> set[str] | None:
    """Return the names that the server lists, or None while it does not answer."""
    try:
        request = urllib.request.Request(f"{base_url}/models", headers=bearer())
        with _opener().open(request, timeout=5) as response:
            return {row["id"] for row in json.load(response)["data"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener without the environment's proxy, which cannot reach 127.0.0.1."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))
