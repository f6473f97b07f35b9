"""Converting conversations in common formats to turns of `gip_exp.turns`.

Turns may be OpenAI's (`role`, `content` as text or as a list of parts, `tool_calls`), ShareGPT's (`from`, `value`),
Anthropic's parts (`tool_use`, `tool_result`, `thinking`), exchanges (`{"user": ..., "assistant": ...}` or pairs of
texts), a struct of lists as Arrow keeps it, nested in an object or a list, or the JSON text of any of these (a CSV's cell).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gip_exp.data.rows.cells import is_missing
from gip_exp.data.rows.tool_calls import call, called, calls, parsed, result, text_of

CALL, THOUGHT = "a call", "a thought"  # assistant turns that are not replies
ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "chatgpt", "ai"), "assistant"),
    **dict.fromkeys(
        ("tool", "function", "observation", "function_response", "tool_response", "tool_result", "ipython"),
        "tool",
    ),
    **dict.fromkeys(("function_call", "tool_call"), CALL),
    **dict.fromkeys(("reasoning", "thought"), THOUGHT),
}
_ROLE, _TEXT = ("role", "from", "speaker", "author"), ("content", "value", "text")
_REASONING = ("reasoning_content", "reasoning", "thinking", "thought")
_CALLS = ("tool_calls", "function_call")
_USERS, _ASSISTANTS = ("user", "human"), ("assistant", "gpt", "bot", "model")
# These names of columns are only allowed in a history, where an object cannot be a row.
_QUESTIONS = (*_USERS, "question", "input", "instruction", "prompt", "query")
_ANSWERS = (*_ASSISTANTS, "answer", "output", "response", "completion")
_THINK = re.compile(r"\s*<(think|thinking)>(.*?)</\1>\s*", re.DOTALL)
_END = "</think>"  # without a beginning if that is part of the chat template
_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")

Turn = dict[str, Any]


def holds_turns(value: Any) -> bool:
    """Return whether a value is a conversation: a list of turns, or an object or JSON text that contains one."""
    if isinstance(value, str):
        if not value.lstrip().startswith(("[", "{")):
            return False
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return False
    if isinstance(value, Mapping):
        return _struct_of_lists(value) or nested(value) is not None
    value = _unwrapped(value)
    return isinstance(value, list) and bool(value) and all(_is_turn(turn) for turn in value)


def _unwrapped(value: Any) -> Any:
    """Return the inner list of a list with a single list; other values unchanged."""
    alone = value[0] if isinstance(value, list) and len(value) == 1 else None
    return alone if isinstance(alone, list) and not _is_pair(alone) else value


def nested(value: Mapping[str, Any]) -> str | None:
    """Return the key of the only conversation in an object, or None."""
    inside = [key for key, item in value.items() if isinstance(item, list) and holds_turns(item)]
    return inside[0] if len(inside) == 1 else None


def conversation(value: Any) -> list[Turn]:
    """Read the turns of a conversation. Raises ValueError if it is not valid."""
    turns: list[Turn] = []
    for number, raw in enumerate(_listed(value), 1):
        for turn in _read(number, raw):
            _join(turns, turn)
    return turns


def history(value: Any) -> list[Turn]:
    """Read earlier turns: pairs of question and answer, alternating texts, or a conversation. Raises ValueError."""
    value = parsed("the history", value)
    if is_missing(value) or not value:
        return []
    if not isinstance(value, list):
        raise ValueError(f"the history must be a list, it is a {type(value).__name__}")
    pairs = [_exchange(pair, _QUESTIONS, _ANSWERS) if isinstance(pair, Mapping) else pair for pair in value]
    whole = [pair for pair in pairs if isinstance(pair, list | tuple) and len(pair) == 2]
    if len(whole) == len(value):
        value = [text for pair in whole for text in pair]
    elif not all(isinstance(text, str) or text is None for text in value):
        return conversation(value)
    elif len(value) % 2:
        raise ValueError(f"the history holds {len(value)} texts: give as many answers as questions")
    roles = ("user", "assistant") * len(value)
    turns = [
        {"role": role, "content": text_of(number, text)}
        for number, (role, text) in enumerate(zip(roles, value, strict=False), 1)
    ]
    return [turn for turn in turns if turn["content"].strip()]


def spoken_text(text: str) -> list[Turn]:
    r"""Read `\n\nHuman: ...\n\nAssistant: ...` as turns; returns an empty list for other text."""
    start, *parts = _SPEAKER.split(text)
    if start.strip() or not parts:
        return []
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [{"role": ROLES[speaker.lower()], "content": text.strip()} for speaker, text in pairs]


def reply(text: str) -> Turn:
    """Return an assistant turn; a `<think>...</think>` block at the start of the text becomes its reasoning."""
    match = _THINK.match(text)
    if match is not None:
        thought, text = match[2].strip(), text[match.end() :]
    elif text.count(_END) == 1 and "<think>" not in text:
        thought, _, text = (part.strip() for part in text.partition(_END))
    else:
        return {"role": "assistant", "content": text}
    return {"role": "assistant", "content": text, **({"reasoning_content": thought} if thought else {})}


def _is_turn(value: Any) -> bool:
    return isinstance(value, Mapping) and (_role_of(value) is not None or _exchange(value) is not None)


def _role_of(turn: Mapping[str, Any]) -> Any:
    """Return the role in a turn; None for a value that is not a turn."""
    name = next((turn[key] for key in _ROLE if turn.get(key) is not None), None)
    has_content = any(key in turn for key in (*_TEXT, *_CALLS, *_REASONING))
    return name if has_content else None


def _exchange(
    value: Mapping[str, Any], question_keys: Sequence[str] = _USERS, answer_keys: Sequence[str] = _ASSISTANTS
) -> tuple[Any, Any] | None:
    """Return (question, answer) of an object with exactly these two keys; None for other objects."""
    names = {str(key).lower(): key for key in value}
    questions = [names[name] for name in question_keys if name in names]
    answers = [names[name] for name in answer_keys if name in names]
    if len(value) != 2 or len(questions) != 1 or len(answers) != 1:
        return None
    return value[questions[0]], value[answers[0]]


def _struct_of_lists(value: Mapping[str, Any]) -> bool:
    role = next((value[key] for key in _ROLE if isinstance(value.get(key), list)), None)
    text = next((value[key] for key in _TEXT if isinstance(value.get(key), list)), None)
    return role is not None and text is not None and len(role) == len(text) > 0


def _listed(value: Any) -> Sequence[Mapping[str, Any]]:
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"the conversation is text, but not JSON ({error.msg} at {error.pos})") from None
    if isinstance(value, Mapping):
        if _struct_of_lists(value):
            lists = {key: item for key, item in value.items() if isinstance(item, list)}
            return [dict(zip(lists, cells, strict=False)) for cells in zip(*lists.values(), strict=False)]
        key = nested(value)
        if key is not None:
            return value[key]
    value = _unwrapped(value)
    if isinstance(value, list) and value and all(map(_is_pair, value)):
        return [{"user": question, "assistant": answer} for question, answer in value]
    if not isinstance(value, list) or not all(isinstance(turn, Mapping) for turn in value):
        raise ValueError(f"a conversation must be a list of turns, found {_kind(value)}")
    if not value:
        raise ValueError("the conversation has no turns")
    return value


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(text, str) for text in value)
    )


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return f"a list with a {next(type(turn).__name__ for turn in value if not isinstance(turn, Mapping))}"
    return "nothing" if is_missing(value) else f"a {type(value).__name__}"


def _read(number: int, raw: Mapping[str, Any]) -> Iterator[Turn]:
    """Convert one element of a conversation: to several turns for an exchange or for parts with tool results."""
    pair = _exchange(raw)
    if pair is not None:
        yield {"role": "user", "content": text_of(number, pair[0])}
        yield reply(text_of(number, pair[1]))
        return
    name = next((raw[key] for key in _ROLE if raw.get(key) is not None), None)
    role = ROLES.get(name.strip().lower().replace("-", "_")) if isinstance(name, str) else None
    if role is None:
        raise ValueError(
            f"turn {number} has the role {name!r}: rename it to one of {', '.join(ROLES)} (user for questions, assistant for "
            "the replies to learn from)"
        )
    content = next((raw[key] for key in _TEXT if not is_missing(raw.get(key))), None)
    if role == CALL:
        yield called(number, content)
    elif role == THOUGHT:
        yield {"role": "assistant", "content": "", "reasoning_content": text_of(number, content)}
    elif role == "tool":
        yield result(number, raw, content)
    else:
        parts, others = _parts(number, content)
        results = [
            result(number, part, part.get("content")) for part in others if part["type"] == "tool_result"
        ]
        yield from results
        if parts or role == "assistant" or not results:
            yield (
                _assistant(number, raw, parts, others)
                if role == "assistant"
                else {"role": role, "content": parts}
            )


def _assistant(number: int, raw: Mapping[str, Any], text: str, parts: Sequence[Mapping[str, Any]]) -> Turn:
    turn = reply(text)
    thoughts = [raw[key] for key in _REASONING if not is_missing(raw.get(key))][:1]
    thoughts += [
        part.get("thinking") or part.get("text")
        for part in parts
        if part["type"] in ("thinking", "reasoning")
    ]
    if reasoning := "\n\n".join(filter(str.strip, (text_of(number, thought) for thought in thoughts))):
        turn["reasoning_content"] = reasoning
    made = [one for key in _CALLS for one in calls(number, raw.get(key))]
    made += [
        call(number, {**part, "arguments": part.get("input")}) for part in parts if part["type"] == "tool_use"
    ]
    return {**turn, "tool_calls": made} if made else turn


def _parts(number: int, content: Any) -> tuple[str, list[Mapping[str, Any]]]:
    """Return (text, other parts) of a turn's content; text parts are joined by line breaks."""
    if not isinstance(content, list):
        return text_of(number, content), []
    known = ("tool_use", "tool_result", "thinking", "reasoning")
    others = [part for part in content if isinstance(part, Mapping) and part.get("type") in known]
    return text_of(number, [part for part in content if part not in others]), others


def _join(turns: list[Turn], turn: Turn) -> None:
    """Append a turn; a preceding turn that is only reasoning becomes part of the assistant turn after it."""
    last = turns[-1] if turns else {"role": None}
    thought = last.get("reasoning_content")
    if thought and turn["role"] == "assistant" and not last["content"] and not last.get("tool_calls"):
        turn = {
            **turn,
            "reasoning_content": "\n\n".join(filter(None, (thought, turn.get("reasoning_content")))),
        }
        turns.pop()
    turns.append(turn)
