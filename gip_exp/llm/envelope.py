"""Read the body of a 200 response: text, tokens billed, the model's name.

Every response with a usage block was paid for, so it becomes a Reply that is counted and kept, whether it holds readable
text or not; `Reply.problem` says why it has none. Only a response without usable content and without a usage
block is a Fault, which is sent again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gip_exp.llm.errors import encodable
from gip_exp.llm.request import Fault, Reply, Request

_MOST_TOKENS = 10**9  # of one call; larger counts are invalid
_NAME = 200  # maximum characters of a name in an envelope
_ENDED = frozenset({"eos", "eos_token", "end_turn", "stop_sequence", "stop_token", "completed", "complete"})
_LENGTH = frozenset({"max_tokens", "max_output_tokens", "max_completion_tokens"})
_FILTERED = frozenset({"safety", "recitation", "blocklist", "prohibited_content", "content_filtered"})
_TEXT_BLOCKS = ("text", "output_text")


def guess_tokens(text: str) -> int:
    """Return an estimate of the tokens of a text (4 bytes each), for estimates and never for a limit."""
    return (len(text.encode("utf-8", "replace")) + 3) // 4


def read_envelope(raw: bytes, request: Request) -> Reply | Fault:
    """Return the reply in the body of a 200 response.

    Args:
        raw: the body.
        request: what was asked.

    Returns:
        Reply, with `problem` set if it has no readable text; or Fault if nothing says that it was paid for.
    """
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return Fault("envelope", "the body of a 200 response is not JSON")
    if not isinstance(body, dict):
        return Fault("envelope", "the response is not a JSON object")
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    finish = "stop"
    if isinstance(choice, dict):
        finish = _finish(choice.get("finish_reason"))
        text, refusal, problem = _content(choice, request)
        # Truncated and filtered replies have no text; the finish reason says why.
        problem = "" if finish in ("length", "content_filter") and not text else problem
    else:
        text, refusal, problem = "", None, "the response has no choices"
    usage = body.get("usage")
    if problem and not _billed(usage):
        return Fault("envelope", problem)
    model = body.get("model")
    name = encodable(model[:_NAME]) if isinstance(model, str) else ""
    declined = None if refusal is None else encodable(refusal)
    reply = Reply(encodable(text), encodable(finish), declined, model=name, problem=problem)
    return _with_usage(reply, usage, request)


def _finish(reason: object) -> str:
    """Return the finish reason in OpenAI's words: servers have their own for the same ends."""
    if not isinstance(reason, str) or not reason:
        return "stop"
    plain = reason.rsplit(".", 1)[-1].strip().lower()  # also "FinishReason.STOP"
    for names, usual in ((_ENDED, "stop"), (_LENGTH, "length"), (_FILTERED, "content_filter")):
        if plain in names:
            return usual
    return plain[:_NAME]


def _content(choice: Mapping[str, Any], request: Request) -> tuple[str, str | None, str]:
    """Return (text, refusal, why there is no text)."""
    if request.prompt is not None:
        text = choice.get("text")
        return (text, None, "") if isinstance(text, str) else ("", None, "the response's text is not text")
    message = choice.get("message")
    if not isinstance(message, dict):
        return "", None, "the response has no message"
    refusal = message.get("refusal")
    refusal = refusal if isinstance(refusal, str) and refusal else None
    text = _text(message.get("content"))
    if not text:
        text = _arguments(message) or text
    if text is not None:
        return text, refusal, ""
    if refusal is not None:
        return "", refusal, ""
    if message.get("content") is not None:
        return "", None, "the response's content is not text"
    thought = message.get("reasoning_content") or message.get("reasoning")
    beside = " beside its reasoning; raise max_tokens, or turn thinking off" if thought else ""
    return "", None, f"the response's content is null{beside}"


def _text(content: object) -> str | None:
    """Return a text, or the joined text blocks of a list (blocks of reasoning are left out); None for anything else."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        return None
    texts = [block.get("text") for block in content if block.get("type") in _TEXT_BLOCKS]
    found = [text for text in texts if isinstance(text, str)]
    return "".join(found) if found else None


def _arguments(message: Mapping[str, Any]) -> str | None:
    """Return the arguments of a single tool call: some servers answer a request for JSON with one."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or len(calls) != 1 or not isinstance(calls[0], dict):
        return None
    function = calls[0].get("function")
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if isinstance(arguments, dict):
        return json.dumps(arguments)
    return arguments if isinstance(arguments, str) else None


def _billed(usage: object) -> bool:
    """Return whether a usage block counts at least one token."""
    if not isinstance(usage, dict):
        return False
    return any(_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens", "total_tokens"))


def _with_usage(reply: Reply, usage: object, request: Request) -> Reply:
    """Return the reply with its billed tokens; missing or invalid usage is estimated and marked."""
    counts = usage if isinstance(usage, dict) else {}
    prompt, completion = _count(counts.get("prompt_tokens")), _count(counts.get("completion_tokens"))
    total = _count(counts.get("total_tokens"))
    estimated = prompt is None or completion is None
    if prompt is None:
        texts = [m["content"] for m in request.messages] or [request.prompt or ""]
        prompt = sum(map(guess_tokens, texts))
    if completion is None:
        completion = guess_tokens(reply.text)
    if total is not None:
        completion = max(completion, total - prompt)  # some count reasoning in the total alone, and bill it
    details = counts.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
    return Reply(
        text=reply.text,
        finish_reason=reply.finish_reason,
        refusal=reply.refusal,
        prompt_tokens=prompt,
        cached_tokens=min(cached or 0, prompt),
        completion_tokens=completion,
        estimated=estimated,
        model=reply.model,
        problem=reply.problem,
    )


def _count(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS
    return value if is_count else None  # type: ignore[return-value]
