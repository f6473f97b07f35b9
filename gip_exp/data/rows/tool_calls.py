"""Converting tools, tool calls and tool results from common formats to that of chat templates."""

import json
from collections.abc import Mapping
from typing import Any

from gip_exp.data.rows.cells import is_missing


def read_tools(value: Any) -> list[dict[str, Any]]:
    """Read the available tools: a list, one tool, or their JSON text. Raises ValueError."""
    value = parsed("the column of tools", value)
    if is_missing(value) or not value:
        return []
    tools = value if isinstance(value, list) else [value]
    if wrong := [tool for tool in tools if not isinstance(tool, Mapping | str)]:
        raise ValueError(f"the tools must be objects, found a {type(wrong[0]).__name__}")
    described = [{"name": tool} if isinstance(tool, str) else dict(tool) for tool in tools]
    return [
        tool if isinstance(tool.get("function"), Mapping) else {"type": "function", "function": tool}
        for tool in described
    ]


def calls(number: int, value: Any) -> list[dict[str, Any]]:
    """Read the tool calls of turn `number`: one, several, or their JSON text. Raises ValueError."""
    value = parsed(f"turn {number}: the tool call", value)
    if is_missing(value) or not value:
        return []
    return [call(number, one) for one in (value if isinstance(value, list) else [value])]


def call(number: int, value: Any) -> dict[str, Any]:
    """Convert a tool call; arguments that are the JSON text of an object become an object."""
    inner = value.get("function", value) if isinstance(value, Mapping) else None
    if isinstance(inner, str):  # {"function": "name", "arguments": ...}
        inner = {**value, "name": inner}
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        raise ValueError(f"turn {number} has a tool call without a name: {str(value)[:40]!r}")
    arguments: Any = next(
        (inner[key] for key in ("arguments", "parameters", "args") if not is_missing(inner.get(key))), {}
    )
    if isinstance(arguments, str):
        try:
            read = json.loads(arguments)
        except ValueError:
            read = None
        arguments = read if isinstance(read, dict) else arguments
    identity = {"id": str(value["id"])} if value.get("id") is not None else {}
    return {**identity, "type": "function", "function": {"name": inner["name"], "arguments": arguments}}


def called(number: int, content: Any) -> dict[str, Any]:
    """Convert ShareGPT's `function_call`: the JSON text of one or several calls; other text remains text."""
    if isinstance(content, str):
        try:
            content = json.loads(content)
        except ValueError:
            return {"role": "assistant", "content": content}
    return {"role": "assistant", "content": "", "tool_calls": calls(number, content)}


def result(number: int, raw: Mapping[str, Any], content: Any) -> dict[str, Any]:
    """Convert a tool result to a tool turn; results that are not text become JSON text."""
    if isinstance(content, list) and all(isinstance(part, Mapping) and "text" in part for part in content):
        text = text_of(number, content)
    elif isinstance(content, Mapping | list):
        text = json.dumps(content, ensure_ascii=False, default=str)
    else:
        text = text_of(number, content)
    identity = raw.get("tool_call_id") or raw.get("tool_use_id")
    extra = {"tool_call_id": identity, "name": raw.get("name")}
    return {
        "role": "tool",
        "content": text,
        **{key: str(value) for key, value in extra.items() if value is not None},
    }


def text_of(number: int, content: Any) -> str:
    """Return the text of turn `number`; of a list of parts their texts, one per line. Raises ValueError."""
    if is_missing(content):
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, int | float):
        return json.dumps(content)
    if not isinstance(content, list):
        raise ValueError(f"turn {number} must hold text, it is a {type(content).__name__}")
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, Mapping) else part
        if not isinstance(text, str):
            what = (
                f"of type {part.get('type')!r}" if isinstance(part, Mapping) else f"a {type(part).__name__}"
            )
            raise ValueError(f"turn {number} has a part that is {what}: only text can be used")
        texts.append(text)
    return "\n".join(texts)


def parsed(what: str, value: Any) -> Any:
    """Parse a value that may be JSON text; None for an empty text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else None
    except ValueError:
        raise ValueError(f"{what} is text, but not JSON: {value[:40]!r}") from None
