"""Read an error response: its message in any of the shapes in use, what it means, and how long to wait.

Throttling (so many requests or tokens a minute) and an account without money both come as 429 and in similar words.
A code or type that says "quota" or "billing" means no money; the words alone do so only if the response names no time
to come back at.
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gip_exp.llm.errors import shorten
from gip_exp.llm.request import Fault

_SPENT_CODES = frozenset({
    "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance",
    "insufficient_credits", "insufficient_funds", "billing_error", "access_terminated",
})  # fmt: skip
_SPENT_WORDS = re.compile(
    r"insufficient[ _](?:quota|balance|credits?|funds)|exceeded your current quota|billing hard limit|credit balance is too low"
    r"|out of credits|no credits|not enough credits|payment required|account is not active|spend(?:ing)? limit",
    re.IGNORECASE,
)
_TOO_LARGE = re.compile(r"limit:?\s*([\d,]+).{0,40}?requested:?\s*([\d,]+)", re.IGNORECASE)
_LATER = re.compile(
    r"(?:try|retry)(?:ing)?(?: again)?(?: in| after)\s+((?:\d+(?:\.\d+)?\s*(?:ms|h|m|s)[a-z]*\s*)+|\d+(?:\.\d+)?)",
    re.IGNORECASE,
)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|h|m|s)", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MOVED = (301, 302, 303, 307, 308)
_FOR_ITSELF = frozenset({"context_length_exceeded", "content_filter", "content_policy_violation"})


@dataclass(frozen=True)
class ErrorBody:
    """Message of an error response, with the parameter it names, and its codes: `code`, `type` and `status` in lower case."""

    message: str
    codes: frozenset[str]

    @property
    def about_the_row(self) -> bool:
        """Whether the code says that the text itself is refused, so that another form of the request cannot help."""
        return bool(self.codes & _FOR_ITSELF)


def read_error(raw: bytes) -> ErrorBody:
    """Return what an error body says: `{"error": {...}}`, `[{"error": ...}]`, `{"detail": ...}`, plain text, and others."""
    text = raw.decode("utf-8", "replace").strip()
    try:
        body: Any = json.loads(text)
    except (ValueError, RecursionError):
        return ErrorBody(text, frozenset())
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    inner = body
    for name in ("error", "detail", "errors"):
        if isinstance(inner, dict) and inner.get(name):
            inner = inner[name]
    if isinstance(inner, list) and inner:
        inner = inner[0] if len(inner) == 1 else inner
    codes = {
        str(part[name]).lower()
        for part in (body, inner)
        if isinstance(part, dict)
        for name in ("code", "type", "status")
        if isinstance(part.get(name), str | int)
    }
    return ErrorBody(_message(inner) or text, frozenset(codes))


def _message(inner: Any) -> str:
    if isinstance(inner, str):
        return inner
    if not isinstance(inner, dict):
        return ""
    for name in ("message", "msg", "error_description", "title"):
        if isinstance(inner.get(name), str) and inner[name]:
            where = inner.get("loc") or inner.get("param")  # the parameter, for FastAPI and for OpenAI
            named = where if isinstance(where, str) else ".".join(map(str, where)) if where else ""
            detail = inner.get("metadata")  # a gateway's words, and those of the provider behind it
            raw = detail.get("raw") if isinstance(detail, dict) else None
            parts = [inner[name], f"({named})" if named and named not in inner[name] else "", raw or ""]
            return " ".join(str(part) for part in parts if part)
    return ""


def status_fault(status: int, headers: Mapping[str, str], raw: bytes, *, clean: Any, remedies: Any) -> Fault:
    """Return the fault for a response that is not a success.

    Args:
        status: of the response.
        headers: of the response, by lower-case name.
        raw: the body.
        clean: removes secrets from a text.
        remedies: what to do about the account (401, 403) and about the address (404, and redirects), by status.

    Returns:
        Fault; its kind is "http STATUS".
    """
    said = read_error(raw)
    detail = shorten(clean(f"{said.message or 'no message'}"))
    kind, wait = f"http {status}", wait_s(headers, raw)
    if status == 402 or _spent(status, said, wait):
        return Fault(
            kind,
            f"{detail} (the account has no money left: check its balance and limits)",
            retry=False,
            fatal=True,
        )
    if status in remedies:  # a 403 may be about the row alone
        return Fault(kind, f"{detail} ({remedies[status]})", retry=False, fatal=status != 403)
    if status in _MOVED:
        to = shorten(clean(headers.get("location", "no address")), 160)
        why = f"redirected to {to}, which is not followed because the key would go along"
        return Fault(kind, f"{why} ({remedies[404]})", retry=False, fatal=True)
    if status == 429 and _too_large(said.message):
        return Fault(kind, f"{detail} (this request alone is above the limit)", retry=False)
    held_back = status == 429 or (status in (503, 529) and wait is not None)
    retry = status in (408, 409, 425, 429) or status >= 500 or "json_validate_failed" in said.codes
    return Fault(kind, detail, retry=retry, retry_after_s=wait, held_back=held_back)


def _spent(status: int, said: ErrorBody, wait: float | None) -> bool:
    if said.codes & _SPENT_CODES and status in (400, 402, 403, 429):
        return True
    return status in (403, 429) and wait is None and bool(_SPENT_WORDS.search(said.message))


def _too_large(message: str) -> bool:
    """Return whether a single request asks for more than the whole limit ("Limit 30000, Requested 40000")."""
    found = _TOO_LARGE.search(message)
    return bool(found) and int(found[2].replace(",", "")) > int(found[1].replace(",", ""))  # type: ignore[index]


def wait_s(headers: Mapping[str, str], raw: bytes = b"") -> float | None:
    """Return the seconds to wait: from Retry-After, else the reset of an exhausted limit, else the words of the body.

    Example:
        >>> wait_s({}, b"Rate limit reached. Please try again in 2.5s.")
        2.5
    """
    asked = _retry_after_s(headers)
    if asked is not None:
        return asked
    resets = [
        seconds
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}", "").strip() in ("0", "0.0")
        and (seconds := seconds_of(headers.get(f"x-ratelimit-reset-{what}", ""))) is not None
    ]
    if resets:
        return max(resets)
    text = raw[:20_000].decode("utf-8", "replace")
    if found := re.search(r'"retryDelay"\s*:\s*"([^"]+)"', text):
        return seconds_of(found[1])
    found = _LATER.search(text)
    return seconds_of(found[1]) if found else None


def seconds_of(text: str) -> float | None:
    """Return the seconds in a duration such as 2.5s, 120ms, 6m0s, 1h2m or 7, or None.

    Example:
        >>> seconds_of("6m0.5s")
        360.5
    """
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = _PART.findall(text)
    return sum(float(number) * _SECONDS[unit.lower()] for number, unit in parts) if parts else None


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
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
