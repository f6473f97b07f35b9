"""Conversations as turns, and as the text that embedders, judges and models without a chat template read.

A turn is a dict `{"role", "content"}` with one of `ROLES` and a text, the format of chat templates. An assistant turn may
also have `reasoning_content` (text) and `tool_calls` (`[{"type": "function", "function": {"name", "arguments"}}]`); a
tool turn may have `name` and `tool_call_id`. Available tools are `{"type": "function", "function": {"name", ...}}`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

ROLES = ("system", "user", "assistant", "tool")

Turn = Mapping[str, Any]
Tool = Mapping[str, Any]


def as_texts(turns: Sequence[Turn], tools: Sequence[Tool] = ()) -> tuple[str, str]:
    """Convert a conversation to (prompt, completion); the last turn is the completion.

    Args:
        turns: At least two; the last is the assistant's.
        tools: The available tools, listed after the system message.

    Returns:
        The prompt of a single question is the question, after the system message if there is one. The prompt of several
        turns is a transcript in which each turn starts with `System: `, `User: `, `Assistant: ` or `Tool: `.
    """
    *before, reply = turns
    system = []
    while before and before[0]["role"] == "system":
        system.append(before.pop(0)["content"])
    if tools:
        system.append(tools_text(tools))
    texts = [turn_text(turn) for turn in before]
    if len(before) != 1 or before[0]["role"] != "user":
        texts = [f"{turn['role'].capitalize()}: {text}" for turn, text in zip(before, texts, strict=True)]
    return "\n\n".join([*(text for text in system if text.strip()), *texts]), turn_text(reply)


def turn_text(turn: Turn) -> str:
    """Return the text of a turn: reasoning, content, one line of JSON per tool call."""
    content = [turn["content"]] if turn["content"] else []
    text = "\n".join([*content, *map(call_text, turn.get("tool_calls", ()))])
    reasoning = turn.get("reasoning_content")
    return f"{reasoning}\n\n{text}" if reasoning else text


def call_text(call: Mapping[str, Any]) -> str:
    """Return a tool call as one line of JSON."""
    return json.dumps(call["function"], ensure_ascii=False)


def tools_text(tools: Sequence[Tool]) -> str:
    """Return the available tools, one line of JSON each."""
    lines = [json.dumps(tool.get("function", tool), ensure_ascii=False) for tool in tools]
    return "\n".join(["Tools:", *lines])
