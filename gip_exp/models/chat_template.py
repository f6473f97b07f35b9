"""A model's own chat template: what it can show of a conversation, and the conversation as it shows it.

Templates differ: some refuse a system's text, some know no tools or no reasoning. What a template shows is found out by
rendering marked conversations once. What it does not show goes into the text of a turn that it does show, so that
nothing of a row is lost in silence; only reasoning that it does not know is left out. `Rendered.changes` says what was done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gip_exp.errors import UserError
from gip_exp.models.control_tokens import Clean, cleaned
from gip_exp.turns import Tool, Turn, call_text, tools_text

MARK = "Zq7mark"  # a word that no template writes by itself
REASONING = ("reasoning_content", "thinking", "reasoning")
NO_SYSTEM = "have a system text, which the chat template does not know: it stands before the user's next text"
NO_TOOLS = "come with tools, which the chat template does not know: they stand in the system text"
NO_CALLS = "hold tool calls, which the chat template does not know: they are lines of JSON in the turn's text"
NO_RESULTS = "hold tool results, which the chat template does not know: they are turns of the user"
NO_REASONING = "hold reasoning, which the chat template does not know: it is not trained on"
EARLIER_REASONING = "hold reasoning before the last reply, which the chat template leaves out"
REFUSED = "are refused by the chat template: the prompt is one turn of the user, as a transcript"


@dataclass(frozen=True)
class Rendered:
    """A conversation as the template writes it.

    Attributes:
        turns: The turns handed to the template, the last one the reply.
        tools: The tools handed to it.
        options: Its further variables.
        prompt: The text before the reply, with the beginning of the reply's turn.
        whole: The text of the whole conversation.
        changes: What stands elsewhere than in the row, or is left out.
    """

    turns: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    options: dict[str, Any]
    prompt: str
    whole: str
    changes: set[str] = field(default_factory=set)


class ChatTemplate:
    """The chat template of a tokenizer. `clean` breaks up control tokens in people's text."""

    def __init__(self, tokenizer: Any, clean: Clean) -> None:
        self.tokenizer, self.clean = tokenizer, clean

    def text(
        self, turns: Sequence[Turn], tools: Sequence[Tool] = (), *, start_reply: bool, **options: Any
    ) -> str:
        """The template's text of the turns. Raises UserError when it cannot be used."""
        from jinja2 import TemplateError

        try:
            return self.tokenizer.apply_chat_template(
                list(turns),
                **({"tools": list(tools)} if tools else {}),
                tokenize=False,
                add_generation_prompt=start_reply,
                **options,
            )
        except (
            TemplateError,
            TypeError,
            ValueError,
            KeyError,
            AttributeError,
        ) as error:  # also its sandbox's
            raise UserError(
                f"the model's chat template cannot be used ({error}): use another model, or model.prompt.style=plain"
            ) from error

    def render(self, turns: Sequence[Turn], tools: Sequence[Tool] = ()) -> Rendered | None:
        """A conversation in full and up to its reply; None when the template refuses it."""
        changes: set[str] = set()
        fitted, offered = self._fitted(
            cleaned(list(turns), self.clean), cleaned(list(tools), self.clean), changes
        )
        options = {"enable_thinking": self.reasoning in fitted[-1]}
        try:
            prompt = self.text(fitted[:-1], offered, start_reply=True, **options)
            whole = self.text(fitted, offered, start_reply=False, **options)
        except UserError:
            return None
        if any(turn["content"].strip() not in whole for turn in fitted):
            return None  # a text of a row is never lost
        if any(turn.get(self.reasoning, "").strip() not in whole for turn in fitted if self.reasoning):
            changes.add(EARLIER_REASONING)
        return Rendered(fitted, offered, options, prompt, whole, changes)

    def _shows(self, *turns: Turn, tools: Sequence[Tool] = (), start_reply: bool = False) -> bool:
        """Whether a mark in the turns or tools comes through."""
        try:
            return MARK in self.text(turns, tools, start_reply=start_reply, enable_thinking=True)
        except UserError:
            return False

    @cached_property
    def system(self) -> bool:
        """Whether it knows a system's text at the beginning."""
        return self._shows({"role": "system", "content": MARK}, _USER, start_reply=True)

    @cached_property
    def later_system(self) -> bool:
        """Whether it knows a system's text between turns."""
        return self._shows(_USER, _REPLY, {"role": "system", "content": MARK}, _USER, start_reply=True)

    @cached_property
    def tools(self) -> bool:
        """Whether it knows tools on offer."""
        function = {"name": MARK, "description": "x", "parameters": {"type": "object", "properties": {}}}
        return self._shows(_USER, tools=[{"type": "function", "function": function}], start_reply=True)

    @cached_property
    def calls(self) -> bool:
        """Whether it knows tool calls of an assistant's turn."""
        return self._shows(_USER, _calling(MARK))

    @cached_property
    def results(self) -> bool:
        """Whether it knows tools' turns."""
        called = _calling("f") if self.calls else _REPLY
        result = {"role": "tool", "content": MARK, "name": "f", "tool_call_id": _CALL_ID}
        return self._shows(_USER, called, result, start_reply=True)

    @cached_property
    def reasoning(self) -> str | None:
        """The key of a reply's reasoning that it knows, or None."""
        return next((key for key in REASONING if self._shows(_USER, {**_REPLY, key: MARK})), None)

    def _fitted(
        self, turns: list[dict[str, Any]], tools: list[dict[str, Any]], changes: set[str]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The turns and tools as far as the template knows them, and the others in texts that it knows."""
        turns = [self._fitted_turn(turn, changes) for turn in turns]
        if tools and not self.tools:
            changes.add(NO_TOOLS)
            turns, tools = _with_tools(turns, tools), []
        return self._without_system(turns, changes), tools

    def _fitted_turn(self, turn: Mapping[str, Any], changes: set[str]) -> dict[str, Any]:
        fitted = dict(turn)
        thought = fitted.pop("reasoning_content", None)
        if thought and self.reasoning:
            fitted[self.reasoning] = thought
        elif thought:
            changes.add(NO_REASONING)
        if "tool_calls" in fitted and not self.calls:
            changes.add(NO_CALLS)
            lines = map(call_text, fitted.pop("tool_calls"))
            fitted["content"] = "\n".join(filter(None, (fitted["content"], *lines)))
        if fitted["role"] == "tool" and not self.results:
            changes.add(NO_RESULTS)
            fitted = {"role": "user", "content": f"Tool: {fitted['content']}"}
        return fitted

    def _without_system(self, turns: list[dict[str, Any]], changes: set[str]) -> list[dict[str, Any]]:
        """The turns with system texts that the template does not know before the next text of the user."""
        found: list[dict[str, Any]] = []
        waiting: list[str] = []
        for turn in turns:
            known = self.later_system if any(one["role"] != "system" for one in found) else self.system
            if turn["role"] == "system" and not known:
                changes.add(NO_SYSTEM)
                waiting.append(turn["content"])
            elif turn["role"] == "user" and waiting:
                found.append({**turn, "content": "\n\n".join([*waiting, turn["content"]])})
                waiting = []
            else:
                found.append(turn)
        return found


def _with_tools(turns: list[dict[str, Any]], tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """The turns with the tools as text in the first system turn."""
    text = tools_text(tools)
    if turns[0]["role"] == "system":
        return [{**turns[0], "content": f"{turns[0]['content']}\n\n{text}"}, *turns[1:]]
    return [{"role": "system", "content": text}, *turns]


def _calling(name: str) -> dict[str, Any]:
    """A turn of the assistant that calls a tool."""
    function = {"name": name, "arguments": {"x": 1}}
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": _CALL_ID, "type": "function", "function": function}],
    }


_CALL_ID = "call00001"  # nine letters and digits, which Mistral's templates ask for
_USER = {"role": "user", "content": "x"}
_REPLY = {"role": "assistant", "content": "x"}
