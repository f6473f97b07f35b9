"""Conversion from our requests to an endpoint's JSON: request bodies, and features that an endpoint lacks.

A form (`Quirks`) starts from the settings. A 400 or 422 proposes another form; the request is sent again in it, and
only if that brings a reply is the form kept for the endpoint (`Quirks.join`). So neither a row that is refused for
itself nor one that quotes such a complaint changes how the others are asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gip_exp.llm.request import Message, Request
from gip_exp.llm.settings import EndpointSettings

# From the strictest form of a reply to the loosest; json_range is a schema without enums.
FORMS = ("json_schema", "json_range", "json_object", "none")
_UNSUPPORTED = re.compile(
    r"unsupported|not support|doesn'?t support|unrecognized|unknown|not allowed|not permitted|extra inputs"
    r"|invalid|only the default|not available|must alternate|unexpected|deprecated|cannot be|must be",
    re.IGNORECASE,
)
_STRUCTURED = re.compile(
    r"response_?format|response_?schema|json_schema|json_object|structured|guided|grammar|response format",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Quirks:
    """The form that an endpoint and its model accept; `structured` is one of FORMS."""

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

    def after(self, complaint: str) -> Quirks:
        """Return the form that the text of a 400 reply asks for; self if it names no parameter."""
        text = complaint.lower()
        if "max_completion_tokens" in text and "max_tokens" in text:
            return replace(self, completion_tokens_name=True)
        if not _UNSUPPORTED.search(text):
            return self
        changes: dict[str, Any] = {}
        if re.search(r"\btemperature\b|\btop_p\b", text):
            changes = {"sampling": False}
        elif re.search(r"\bseed\b", text):
            changes = {"seed": False}
        elif self.structured == "json_schema" and re.search(r"\benum\b", text):
            changes = {"structured": "json_range"}
        elif _STRUCTURED.search(text):
            changes = {"structured": self.looser().structured}
        elif re.search(r"system.{0,40}role|role.{0,40}system|must alternate", text):
            changes = {"system_role": False}
        return replace(self, **changes)

    def looser(self) -> Quirks:
        """Return the form with the next looser structured reply."""
        return replace(
            self, structured="none" if self.structured in ("json_object", "none") else "json_object"
        )

    def without_format(self) -> Quirks:
        """Return the form that asks for no structured reply."""
        return replace(self, structured="none")

    def join(self, other: Quirks) -> Quirks:
        """Return the form that sends only what both send."""
        return Quirks(
            max(self.structured, other.structured, key=FORMS.index),
            self.completion_tokens_name or other.completion_tokens_name,
            self.sampling and other.sampling,
            self.seed and other.seed,
            self.system_role and other.system_role,
        )

    def dropped(self, earlier: Quirks) -> list[str]:
        """Return what `earlier` sent and this form does not, one phrase each, for a note."""
        parts = []
        if self.structured != earlier.structured:
            what = {"json_range": "without enums", "json_object": "only as JSON"}.get(self.structured, "not")
            parts.append(f"the form of the reply is {what} requested ({earlier.structured} was refused)")
        names = {"sampling": "temperature and top_p are", "seed": "the seed is",
                 "system_role": "a system message is"}  # fmt: skip
        for name, what in names.items():
            if getattr(earlier, name) and not getattr(self, name):
                parts.append(f"{what} not sent")
        return parts


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
    body = dict(request.schema.body)
    if quirks.structured == "json_range":
        body = _without_enums(body)
    schema = {"name": request.schema.name, "schema": body, "strict": True}
    return {"type": "json_schema", "json_schema": schema}


def _without_enums(schema: Any) -> Any:
    """Return the schema without `enum`, which some providers allow for texts only; the scale is in the prompt as well."""
    if isinstance(schema, Mapping):
        return {name: _without_enums(part) for name, part in schema.items() if name != "enum"}
    return [_without_enums(part) for part in schema] if isinstance(schema, list) else schema


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
