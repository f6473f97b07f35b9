"""Errors a user can mend, and the one place where secrets are taken out of text.

Every text that came from outside (an endpoint's error body, a server's log) goes through `redact`
before it is shown, logged or stored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

HIDDEN = "[secret]"
_SECRET_NAME = re.compile(r"(API_?KEY|TOKEN|SECRET|PASSWORD)S?$", re.IGNORECASE)
# What a key looks like even when it is not one of ours (some endpoints echo a masked or foreign key).
_KEY_SHAPES = (
    re.compile(r"\bsk-[A-Za-z0-9_\-*]{8,}"),
    re.compile(r"(?i)\b(bearer|api-key:?)\s+[A-Za-z0-9._\-*]{8,}"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
)


class LLMError(ValueError):
    """A problem with an LLM call, a reply cache or a managed server; the message says what to do."""


class BudgetReachedError(LLMError):
    """`max_cost_usd` would have been passed by the next call; everything paid for is in the cache."""


class TooManyUnscoredError(LLMError):
    """More examples than `max_unscored` allows could not be scored."""


class ServerError(LLMError):
    """The managed vLLM server did not start or died; the message ends with the last lines of its log."""


def secrets_in_environment(also: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the values of all environment variables whose name says that they hold a secret.

    also: further variable names to treat so. Values under 6 characters are left out: hiding them would
    mangle ordinary text. Longest first, so that a key containing another is hidden whole.
    """
    names = {name for name in os.environ if _SECRET_NAME.search(name)} | set(also)
    values = {os.environ.get(name, "") for name in names}
    return tuple(sorted((v for v in values if len(v) >= 6), key=len, reverse=True))


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` without the given secrets and without anything shaped like an API key."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    for shape in _KEY_SHAPES:
        text = shape.sub(HIDDEN, text)
    return text


def shorten(text: str, limit: int = 300) -> str:
    """Return `text` on one line, cut in the middle to about `limit` characters."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    half = limit // 2
    return f"{line[:half]} ... {line[-half:]}"
