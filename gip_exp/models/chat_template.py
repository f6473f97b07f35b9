"""Rendering conversations with a model's chat template.

Templates differ: some reject system messages, some do not support tools or reasoning. What a template supports is
determined once, by rendering conversations that contain a marker word. Unsupported parts are moved to the text of a
supported turn, so that nothing is lost silently; only unsupported reasoning is left out. `Rendered.changes` lists these
changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gip_exp.errors import UserError
from gip_exp.models.control_tokens import Clean, cleaned
from gip_exp.turns import Tool, Turn, call_text, tools_text

MARK = "Zq7mark"  # a word that templates do not contain
REASONING = ("reasoning_content", "thinking", "reasoning")
NO_SYSTEM = (
    "have a system message, which the chat template does not support: it is put before the next user message"
)
NO_TOOLS = "have tools, which the chat template does not support: they are listed in the system message"
NO_CALLS = (
    "have tool calls, which the chat template does not support: they are lines of JSON in the turn's text"
)
NO_RESULTS = "have tool results, which the chat template does not support: they are user turns"
NO_REASONING = "have reasoning, which the chat template does not support: it is not trained on"
EARLIER_REASONING = "have reasoning before the last reply, which the chat template leaves out"
REFUSED = "are rejected by the chat template: the prompt is one user turn with a transcript"


@dataclass(frozen=True)
class Rendered:
    """A conversation rendered by a template.

    Attributes:
        turns: The turns passed to the template; the last one is the reply.
        tools: The tools passed to it.
        options: Further variables passed to it.
        prompt: The text before the reply, with the beginning of the reply's turn.
        whole: The text of the whole conversation.
        changes: Parts of the row that were moved or left out, as the ends of sentences.
    """

    turns: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    options: dict[str, Any]
    prompt: str
    whole: str
    changes: set[str] = field(default_factory=set)


class ChatTemplate:
    """The chat template of a tokenizer; `clean` breaks up control tokens in the text of conversations."""

    def __init__(self, tokenizer: Any, clean: Clean) -> None:
        self.tokenizer, self.clean = tokenizer, clean

    def text(
        self, turns: Sequence[Turn], tools: Sequence[Tool] = (), *, start_reply: bool, **options: Any
    ) -> str:
        """Render turns. Raises UserError if the template fails."""
        from jinja2 import TemplateError

        try:
            return self.tokenizer.apply_chat_template(
                list(turns),
                **({"tools": list(tools)} if tools else {}),
                tokenize=False,
                add_generation_prompt=start_reply,
                **options,
            )
        except (TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise UserError(
                f"the model's chat template cannot be used ({error}): use another model, or model.prompt.style=plain"
            ) from error

    def render(self, turns: Sequence[Turn], tools: Sequence[Tool] = ()) -> Rendered | None:
        """Render a conversation, in full and up to its reply; None if the template rejects it or omits text."""
        changes: set[str] = set()
        adapted, adapted_tools = self._adapted(
            cleaned(list(turns), self.clean), cleaned(list(tools), self.clean), changes
        )
        options = {"enable_thinking": self.reasoning in adapted[-1]}
        try:
            prompt = self.text(adapted[:-1], adapted_tools, start_reply=True, **options)
            whole = self.text(adapted, adapted_tools, start_reply=False, **options)
        except UserError:
            return None
        if any(turn["content"].strip() not in whole for turn in adapted):
            return None
        if any(turn.get(self.reasoning, "").strip() not in whole for turn in adapted if self.reasoning):
            changes.add(EARLIER_REASONING)
        return Rendered(adapted, adapted_tools, options, prompt, whole, changes)

    def _shows(self, *turns: Turn, tools: Sequence[Tool] = (), start_reply: bool = False) -> bool:
        """Return whether the marker in the turns or tools is in the rendered text."""
        try:
            return MARK in self.text(turns, tools, start_reply=start_reply, enable_thinking=True)
        except UserError:
            return False

    @cached_property
    def system(self) -> bool:
        """Whether a system message at the beginning is supported."""
        return self._shows({"role": "system", "content": MARK}, _USER, start_reply=True)

    @cached_property
    def later_system(self) -> bool:
        """Whether a system message between turns is supported."""
        return self._shows(_USER, _REPLY, {"role": "system", "content": MARK}, _USER, start_reply=True)

    @cached_property
    def tools(self) -> bool:
        """Whether available tools are supported."""
        function = {"name": MARK, "description": "x", "parameters": {"type": "object", "properties": {}}}
        return self._shows(_USER, tools=[{"type": "function", "function": function}], start_reply=True)

    @cached_property
    def calls(self) -> bool:
        """Whether tool calls in an assistant turn are supported."""
        return self._shows(_USER, _tool_call(MARK))

    @cached_property
    def results(self) -> bool:
        """Whether tool turns are supported."""
        call = _tool_call("f") if self.calls else _REPLY
        result = {"role": "tool", "content": MARK, "name": "f", "tool_call_id": _CALL_ID}
        return self._shows(_USER, call, result, start_reply=True)

    @cached_property
    def reasoning(self) -> str | None:
        """The supported key for the reasoning of a reply, or None."""
        return next((key for key in REASONING if self._shows(_USER, {**_REPLY, key: MARK})), None)

    def _adapted(
        self, turns: list[dict[str, Any]], tools: list[dict[str, Any]], changes: set[str]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return turns and tools with unsupported parts moved to supported turns."""
        turns = [self._adapted_turn(turn, changes) for turn in turns]
        if tools and not self.tools:
            changes.add(NO_TOOLS)
            turns, tools = _with_tools(turns, tools), []
        return self._adapted_system(turns, changes), tools

    def _adapted_turn(self, turn: Mapping[str, Any], changes: set[str]) -> dict[str, Any]:
        adapted = dict(turn)
        reasoning = adapted.pop("reasoning_content", None)
        if reasoning and self.reasoning:
            adapted[self.reasoning] = reasoning
        elif reasoning:
            changes.add(NO_REASONING)
        if "tool_calls" in adapted and not self.calls:
            changes.add(NO_CALLS)
            lines = map(call_text, adapted.pop("tool_calls"))
            adapted["content"] = "\n".join(filter(None, (adapted["content"], *lines)))
        if adapted["role"] == "tool" and not self.results:
            changes.add(NO_RESULTS)
            adapted = {"role": "user", "content": f"Tool: {adapted['content']}"}
        return adapted

    def _adapted_system(self, turns: list[dict[str, Any]], changes: set[str]) -> list[dict[str, Any]]:
        """Put unsupported system messages before the next user message."""
        adapted: list[dict[str, Any]] = []
        pending: list[str] = []
        for turn in turns:
            later = any(earlier["role"] != "system" for earlier in adapted)
            supported = self.later_system if later else self.system
            if turn["role"] == "system" and not supported:
                changes.add(NO_SYSTEM)
                pending.append(turn["content"])
            elif turn["role"] == "user" and pending:
                adapted.append({**turn, "content": "\n\n".join([*pending, turn["content"]])})
                pending = []
            else:
                adapted.append(turn)
        return adapted


def _with_tools(turns: list[dict[str, Any]], tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """List the tools in the first system message."""
    text = tools_text(tools)
    if turns[0]["role"] == "system":
        return [{**turns[0], "content": f"{turns[0]['content']}\n\n{text}"}, *turns[1:]]
    return [{"role": "system", "content": text}, *turns]


def _tool_call(name: str) -> dict[str, Any]:
    """Return an assistant turn that calls a tool."""
    function = {"name": name, "arguments": {"x": 1}}
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": _CALL_ID, "type": "function", "function": function}],
    }


_CALL_ID = "call00001"  # nine letters and digits, as Mistral's templates require
_USER = {"role": "user", "content": "x"}
_REPLY = {"role": "assistant", "content": "x"}
