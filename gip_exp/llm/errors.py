"""Errors a user can mend, and texts made fit to be shown."""

from __future__ import annotations

from gip_exp.redaction import HIDDEN, redact, secrets_in_environment

__all__ = [
    "HIDDEN",
    "BudgetReachedError",
    "LLMError",
    "ServerError",
    "TooManyUnscoredError",
    "redact",
    "secrets_in_environment",
    "shorten",
]


class LLMError(ValueError):
    """A problem with an LLM call, a reply cache or a managed server; the message says what to do."""


class BudgetReachedError(LLMError):
    """`max_cost_usd` would have been passed by the next call; everything paid for is in the cache."""


class TooManyUnscoredError(LLMError):
    """More examples than `max_unscored` allows could not be scored."""


class ServerError(LLMError):
    """The managed vLLM server did not start or died; the message ends with the last lines of its log."""


def shorten(text: str, limit: int = 300) -> str:
    """Return `text` on one line, cut in the middle to about `limit` characters."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    half = limit // 2
    return f"{line[:half]} ... {line[-half:]}"
