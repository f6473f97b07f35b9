"""A conversation as a prompt and a completion: the last reply is what the model should write, all before it the prompt.

One question with one answer stays as it is, with the system's text before it where there is any. Of several turns the
prompt is a transcript in plain text, each turn after `User: `, `Assistant: ` or `Tool: `. Turns may be OpenAI's
(`role`, `content`, content as text or as a list of text parts) or ShareGPT's (`from`, `value`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "chatgpt"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "function_response", "ipython"), "tool"),
}
_ROLE, _TEXT, _CALLS = ("role", "from"), ("content", "value"), ("tool_calls", "function_call")


@dataclass(frozen=True)
class Conversation:
    """What a model reads and should write. `several`: the prompt is a transcript of more than one question."""

    prompt: str
    completion: str
    several: bool


def is_turns(value: Any) -> TypeGuard[list[Mapping[str, Any]]]:
    """Whether a value is a list of turns, as objects."""
    return isinstance(value, list) and all(isinstance(turn, Mapping) for turn in value)


def conversation(value: Any) -> Conversation:
    """Read a list of turns, or the JSON text of one (a CSV's cell). Raises ValueError saying what is wrong where."""
    turns = [_turn(number, turn) for number, turn in enumerate(_listed(value), 1)]
    system = [text for role, text in turns if role == "system" and text.strip()]
    spoken = [(role, text) for role, text in turns if role != "system"]
    if not spoken or spoken[-1][0] != "assistant":
        last = spoken[-1][0] if spoken else "system"
        raise ValueError(
            f"the conversation ends with a turn of the {last}, so there is no reply to learn from"
        )
    *before, (_, reply) = spoken
    if not any(role == "user" for role, _ in before):
        raise ValueError("the conversation has no turn of the user before the last reply")
    if len(before) == 1:
        return Conversation("\n\n".join([*system, before[0][1]]), reply, several=False)
    transcript = [f"{role.capitalize()}: {text}" for role, text in before]
    return Conversation("\n\n".join([*system, *transcript]), reply, several=True)


def _listed(value: Any) -> Sequence[Mapping[str, Any]]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"the conversation is text, but not JSON ({error.msg} at {error.pos})") from None
    if not is_turns(value):
        raise ValueError(f"a conversation must be a list of turns, found {_kind(value)}")
    if not value:
        raise ValueError("the conversation has no turns")
    return value


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return f"a list with a {next(type(turn).__name__ for turn in value if not isinstance(turn, Mapping))}"
    return type(value).__name__


def _turn(number: int, turn: Mapping[str, Any]) -> tuple[str, str]:
    """(role, text) of a turn."""
    name = next((turn[key] for key in _ROLE if turn.get(key) is not None), None)
    role = ROLES.get(name.strip().lower()) if isinstance(name, str) else None
    if role is None:
        raise ValueError(f"turn {number} has the role {name!r}; known are {', '.join(ROLES)}")
    text = _text(number, next((turn[key] for key in _TEXT if turn.get(key) is not None), None))
    calls = [json.dumps(turn[key], ensure_ascii=False, default=str) for key in _CALLS if turn.get(key)]
    return role, "\n".join([text, *calls] if text else calls)


def _text(number: int, content: Any) -> str:
    """A turn's text; of a list of parts, the texts on lines of their own."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ValueError(f"turn {number} must hold text, it is a {type(content).__name__}")
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, Mapping) else part
        if not isinstance(text, str):
            what = (
                f"of type {part.get('type')!r}" if isinstance(part, Mapping) else f"a {type(part).__name__}"
            )
            raise ValueError(f"turn {number} holds a part that is {what}: only text can be used")
        texts.append(text)
    return "\n".join(texts)
