"""Conversion between our requests and an endpoint's JSON: request bodies, envelopes, unsupported features.

`Quirks` starts from the settings and learns from 400 replies that name a parameter. A body is always built from the
current quirks, so a call that failed for a quirk learned meanwhile is simply sent again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gip_exp.llm.request import Fault, Message, Reply, Request
from gip_exp.llm.settings import EndpointSettings

_MOST_TOKENS = 10**9  # of one call; larger counts are invalid
_NAME = 200  # maximum characters of a name in an envelope
_UNSUPPORTED = re.compile(
    r"unsupported|not support|doesn'?t support|unrecognized|unknown|not allowed|not permitted|extra inputs"
    r"|invalid|only the default|not available|must alternate|unexpected",
    re.IGNORECASE,
)
_STRUCTURED = re.compile(
    r"response_format|json_schema|json_object|structured|guided|grammar|response format", re.IGNORECASE
)


@dataclass
class Quirks:
    """What this endpoint and model support; `structured` is json_schema, json_object or none."""

    structured: str
    completion_tokens_name: bool
    sampling: bool
    seed: bool
    system_role: bool

    @classmethod
    def of(cls, settings: EndpointSettings) -> Quirks:
        """Return what is known from the settings and the model's name."""
        reasoning = settings.is_reasoning_model
        structured = "json_schema" if settings.structured == "auto" else settings.structured
        return cls(structured, reasoning, not reasoning, not reasoning, settings.system_role)

    def learn(self, complaint: str) -> None:
        """Learn from the text of a 400 reply what must not be sent again."""
        text = complaint.lower()
        if "max_completion_tokens" in text and "max_tokens" in text:
            self.completion_tokens_name = True
        elif not _UNSUPPORTED.search(text):
            return
        elif re.search(r"\btemperature\b|\btop_p\b", text):
            self.sampling = False
        elif re.search(r"\bseed\b", text):
            self.seed = False
        elif _STRUCTURED.search(text):
            self.structured = "json_object" if self.structured == "json_schema" else "none"
        elif re.search(r"system.{0,40}role|role.{0,40}system|must alternate", text):
            self.system_role = False


def build_body(request: Request, settings: EndpointSettings, quirks: Quirks) -> dict[str, Any]:
    """Return the JSON body for `request` in the form this endpoint supports."""
    drawn = request.sampling
    body: dict[str, Any] = {"model": settings.model}
    if request.prompt is not None:
        body["prompt"] = request.prompt
    else:
        body["messages"] = _messages(request, quirks)
    extra = settings.reasoning_tokens if settings.is_reasoning_model else 0
    chat_name = quirks.completion_tokens_name and request.prompt is None
    body["max_completion_tokens" if chat_name else "max_tokens"] = drawn.max_tokens + extra
    if quirks.sampling:
        body |= {
            k: v for k, v in (("temperature", drawn.temperature), ("top_p", drawn.top_p)) if v is not None
        }
    if quirks.seed and request.seed is not None:
        body["seed"] = request.seed
    if drawn.stop:
        body["stop"] = list(drawn.stop)
    if settings.is_reasoning_model and drawn.reasoning_effort:
        body["reasoning_effort"] = drawn.reasoning_effort
    if request.schema is not None and quirks.structured != "none":
        body["response_format"] = _response_format(request, quirks)
    return body | dict(settings.extra_body)


def _response_format(request: Request, quirks: Quirks) -> dict[str, Any]:
    assert request.schema is not None
    if quirks.structured == "json_object":
        return {"type": "json_object"}
    schema = {"name": request.schema.name, "schema": dict(request.schema.body), "strict": True}
    return {"type": "json_schema", "json_schema": schema}


def _messages(request: Request, quirks: Quirks) -> list[Message]:
    messages = [dict(m) for m in request.messages]
    if quirks.system_role or messages[0]["role"] != "system":
        return list(messages)
    # For templates without a system role (Mistral's), its text is put before the first user turn.
    system, rest = messages[0], messages[1:]
    if not rest:
        return [{"role": "user", "content": system["content"]}]
    rest[0]["content"] = system["content"] + "\n\n" + rest[0]["content"]
    return list(rest)


def most_tokens(request: Request, settings: EndpointSettings) -> tuple[int, int]:
    """Return upper bounds (prompt, completion) on the tokens of one call.

    A token covers at least one byte of text, so the number of bytes bounds the prompt for every tokenizer; each message
    adds a few tokens.
    """
    texts = [m["content"] for m in request.messages] or [request.prompt or ""]
    size = sum(len(t.encode()) + 16 for t in texts) + 64
    if request.schema is not None:
        size += len(json.dumps(dict(request.schema.body)).encode())
    extra = settings.reasoning_tokens if settings.is_reasoning_model else 0
    return size, request.sampling.max_tokens + extra


def guess_tokens(text: str) -> int:
    """Return an estimate of the tokens of a text (4 bytes each), for estimates and never for a limit."""
    return (len(text.encode()) + 3) // 4


def read_envelope(raw: bytes, request: Request) -> Reply | Fault:
    """Return the reply in the body of a 200 response, or a Fault that says why it is not valid.

    An empty text is a valid reply if the endpoint says that it was truncated or filtered: it was paid for.
    """
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return Fault("envelope", "the body of a 200 response is not JSON")
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return Fault("envelope", "the response has no choices")
    choice = choices[0]
    finish = choice.get("finish_reason") or "stop"
    text, refusal = _content(choice, request)
    if not isinstance(finish, str) or not isinstance(refusal, str | None):
        return Fault("envelope", "the response has fields of the wrong type")
    if text is None and (refusal is not None or finish in ("length", "content_filter")):
        text = ""
    if not isinstance(text, str):
        return Fault("envelope", "the response's content is not text")
    model = body.get("model")
    return _with_usage(
        Reply(text, finish[:_NAME], refusal, model=model[:_NAME] if isinstance(model, str) else ""),
        body.get("usage"),
        request,
    )


def _content(choice: Mapping[str, Any], request: Request) -> tuple[Any, Any]:
    if request.prompt is not None:
        return choice.get("text"), None
    message = choice.get("message")
    return (message.get("content"), message.get("refusal")) if isinstance(message, dict) else (None, None)


def _with_usage(reply: Reply, usage: object, request: Request) -> Reply:
    """Return the reply with its billed tokens; missing or invalid usage is estimated and marked."""
    counts = usage if isinstance(usage, dict) else {}
    prompt, completion = _count(counts.get("prompt_tokens")), _count(counts.get("completion_tokens"))
    estimated = prompt is None or completion is None
    if prompt is None:
        texts = [m["content"] for m in request.messages] or [request.prompt or ""]
        prompt = sum(map(guess_tokens, texts))
    details = counts.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
    return Reply(
        text=reply.text,
        finish_reason=reply.finish_reason,
        refusal=reply.refusal,
        prompt_tokens=prompt,
        cached_tokens=min(cached or 0, prompt),
        completion_tokens=guess_tokens(reply.text) if completion is None else completion,
        estimated=estimated,
        model=reply.model,
    )


def _count(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS
    return value if is_count else None  # type: ignore[return-value]
