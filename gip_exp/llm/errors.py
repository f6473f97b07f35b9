"""Errors the user can fix, and shortening of texts for messages."""

from __future__ import annotations

from gip_exp.redaction import redact, secrets_in_environment

__all__ = [
    "BudgetReachedError",
    "LLMError",
    "ServerError",
    "TooManyUnscoredError",
    "encodable",
    "redact",
    "secrets_in_environment",
    "shorten",
]


class LLMError(ValueError):
    """A problem with an LLM call, a reply cache or a managed server; the message says what to do."""


class BudgetReachedError(LLMError):
    """The next call could exceed `max_cost_usd`; everything paid for is in the cache."""


class TooManyUnscoredError(LLMError):
    """The share of examples that could not be scored exceeds `max_unscored`."""


class ServerError(LLMError):
    """The managed vLLM server did not start or died; the message ends with the last lines of its log."""


def encodable(text: str) -> str:
    """Return `text` with `?` for halves of surrogate pairs, which JSON may hold and UTF-8 may not."""
    return text.encode("utf-8", "replace").decode()


def shorten(text: str, limit: int = 300) -> str:
    """Return `text` on one line, shortened in the middle to about `limit` characters."""
    line = " ".join(encodable(text).split())
    if len(line) <= limit:
        return line
    half = limit // 2
    return f"{line[:half]} ... {line[-half:]}"
