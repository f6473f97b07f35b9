"""Conversations: what a turn is, and the text that embedders, judges and models without a chat template read.

A turn is a dict `{"role", "content"}` with one of `ROLES` and a text, as chat templates take it. An assistant's turn may
also have `reasoning_content` (text) and `tool_calls` (`[{"type": "function", "function": {"name", "arguments"}}]`); a
tool's may have `name` and `tool_call_id`. Tools on offer are `{"type": "function", "function": {"name", ...}}`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

ROLES = ("system", "user", "assistant", "tool")

Turn = Mapping[str, Any]
Tool = Mapping[str, Any]


def as_texts(turns: Sequence[Turn], tools: Sequence[Tool] = ()) -> tuple[str, str]:
    """A conversation as (prompt, completion): the last turn is the completion, all before it the prompt.

    Args:
        turns: At least two; the last is the assistant's.
        tools: The tools on offer, which stand after the system's text.

    Returns:
        A single question stays as it is, after the system's text where there is any. Of several turns the prompt is a
        transcript, each turn after `System: `, `User: `, `Assistant: ` or `Tool: `.
    """
    *before, reply = turns
    lead = []
    while before and before[0]["role"] == "system":
        lead.append(before.pop(0)["content"])
    if tools:
        lead.append(tools_text(tools))
    alone = len(before) == 1 and before[0]["role"] == "user"
    spoken = [turn_text(turn) for turn in before]
    if not alone:
        spoken = [f"{turn['role'].capitalize()}: {text}" for turn, text in zip(before, spoken, strict=True)]
    return "\n\n".join([*(text for text in lead if text.strip()), *spoken]), turn_text(reply)


def turn_text(turn: Turn) -> str:
    """All that a turn holds, in reading order: reasoning, text, one line of JSON for each tool call."""
    spoken = [turn["content"]] if turn["content"] else []
    said = "\n".join([*spoken, *map(call_text, turn.get("tool_calls", ()))])
    reasoning = turn.get("reasoning_content")
    return f"{reasoning}\n\n{said}" if reasoning else said


def call_text(call: Mapping[str, Any]) -> str:
    """A tool call as one line of JSON."""
    return json.dumps(call["function"], ensure_ascii=False)


def tools_text(tools: Sequence[Tool]) -> str:
    """The tools on offer, one line of JSON each."""
    lines = [json.dumps(tool.get("function", tool), ensure_ascii=False) for tool in tools]
    return "\n".join(["Tools:", *lines])
