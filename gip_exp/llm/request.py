"""Requests with their cache key, replies, faults and counts."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gip_exp.llm.settings import EndpointSettings, Sampling

KEY_VERSION = 1
Message = Mapping[str, str]  # {"role": ..., "content": ...}


@dataclass(frozen=True)
class Schema:
    """A JSON schema that a reply must follow, with the name that is sent to the endpoint."""

    name: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """One request: a conversation or a raw text to continue.

    Attributes:
        messages: the conversation; exactly one of messages and prompt is given.
        prompt: the text to continue.
        schema: JSON schema of the reply.
        sampling: how the reply is sampled.
        repetition: number of the vote or sample.
        attempt: 0, then 1, 2, ... after replies with unreadable content. Repetition and attempt are part of the cache
            key, so that each gets a reply of its own.
    """

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    schema: Schema | None = None
    sampling: Sampling = field(default_factory=Sampling)
    repetition: int = 0
    attempt: int = 0

    def __post_init__(self) -> None:
        if bool(self.messages) == (self.prompt is not None):
            raise ValueError("a Request takes either messages or prompt: give exactly one of them.")

    def again(self, attempt: int, **sampling: Any) -> Request:
        """Return the same request under another attempt number, with changed sampling if given."""
        return replace(self, attempt=attempt, sampling=replace(self.sampling, **sampling))

    @property
    def seed(self) -> int | None:
        """The seed that is sent: that of the settings, different for every repetition and attempt."""
        base = self.sampling.seed
        return None if base is None else base + 1000 * self.repetition + self.attempt


def cache_key(request: Request, endpoint: EndpointSettings) -> str:
    """Return 32 hex digits over everything that can change the reply, and nothing else.

    Address, concurrency, timeouts and prices do not enter, so that moving a server does not repeat requests. What an
    endpoint does not support does not enter either: the key describes what was requested.
    """
    drawn = request.sampling
    reasoning = endpoint.is_reasoning_model
    content = {
        "version": KEY_VERSION,
        "model": endpoint.model,
        "identity": endpoint.identity,
        "messages": [dict(m) for m in request.messages],
        "prompt": request.prompt,
        "schema": None if request.schema is None else dict(request.schema.body),
        "structured": None if request.schema is None else endpoint.structured,
        "system_role": endpoint.system_role,
        "temperature": None if reasoning else drawn.temperature,
        "top_p": None if reasoning else drawn.top_p,
        "max_tokens": drawn.max_tokens + (endpoint.reasoning_tokens if reasoning else 0),
        "reasoning_effort": drawn.reasoning_effort if reasoning else None,
        "stop": list(drawn.stop),
        "seed": None if reasoning else request.seed,
        "extra_body": dict(endpoint.extra_body),
        "repetition": request.repetition,
        "attempt": request.attempt,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_refuse)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _refuse(value: object) -> object:
    raise ValueError(f"a request holds a {type(value).__name__}; only JSON values can be sent.")


@dataclass(frozen=True)
class Reply:
    """A reply with a valid envelope; its text may still be unreadable for the caller.

    Attributes:
        text: the text.
        finish_reason: as reported by the endpoint (stop, length, content_filter, ...).
        refusal: the model's words if it declined.
        prompt_tokens: as billed.
        cached_tokens: prompt tokens from the provider's cache.
        completion_tokens: as billed.
        estimated: whether token counts are estimated, because the endpoint sent none.
        model: name of the model in the reply.
        problem: why there is no readable text in a response that was paid for; empty if there is.
        batch: whether it came from a batch, at `batch_share` of the price.
        cached: whether it came from the reply cache and cost nothing now.
    """

    text: str
    finish_reason: str = "stop"
    refusal: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False
    model: str = ""
    problem: str = ""
    batch: bool = False
    cached: bool = False


@dataclass(frozen=True)
class Fault:
    """A call without a reply.

    Attributes:
        kind: groups it in the counts.
        detail: description, redacted.
        retry: whether another attempt can help.
        retry_after_s: the wait that the endpoint requested.
        fatal: whether no call can succeed (wrong key, unknown model, no money left), so that the job stops.
        held_back: whether the provider's limit is the cause (so many requests or tokens a minute): such a request
            waits and is sent again, which is no attempt.
    """

    kind: str
    detail: str
    retry: bool = True
    retry_after_s: float | None = None
    fatal: bool = False
    held_back: bool = False

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


@dataclass
class Stats:
    """Counts of the calls of a job. requests = replies + faults = kept + unreadable + faults once nothing is in flight.

    Attributes:
        calls: distinct requests finished.
        cached: of those, answered by the reply cache.
        requests: requests sent.
        replies: replies received.
        unreadable: replies of this run whose content could not be used (set by the caller).
        failed: calls that ended in a fault.
        retries: attempts after the first.
        in_flight: requests in flight now.
        peak_in_flight: most requests in flight at once.
        prompt_tokens: billed for this run.
        completion_tokens: billed for this run.
        estimated: replies with estimated token counts.
        spent_usd: cost of this run; None if the model has no price.
        job_usd: cost of the job including cached replies.
        held_back: whether requests wait for the provider's limit now.
        faults: number of faults by kind.
        models: replies by the name of the model in them, cached ones included.
        notes: what the endpoint does not accept and is no longer sent, one sentence each.
    """

    calls: int = 0
    cached: int = 0
    requests: int = 0
    replies: int = 0
    unreadable: int = 0
    failed: int = 0
    retries: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: int = 0
    spent_usd: float | None = None
    job_usd: float | None = None
    held_back: bool = False
    faults: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    @property
    def kept(self) -> int:
        """Replies received in this run whose content could be used."""
        return self.replies - self.unreadable

    @property
    def n_faults(self) -> int:
        """Requests of this run without a reply."""
        return sum(self.faults.values())

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values for a manifest or a tracker."""
        names = ("calls", "cached", "requests", "replies", "kept", "unreadable", "failed", "retries",
                 "peak_in_flight", "prompt_tokens", "completion_tokens", "estimated", "spent_usd",
                 "job_usd")  # fmt: skip
        counters = {"faults": dict(sorted(self.faults.items())), "models": dict(sorted(self.models.items()))}
        return {name: getattr(self, name) for name in names} | counters | {"notes": list(self.notes)}
