"""The layouts of rows: which columns are prompt and completion, or a conversation and its parts, by shape.

Layouts are tried in the order of `KNOWN`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gip_exp.data.rows.names import CHOSEN, CONVERSATIONS

PARTS = ("system", "history", "tools", "reasoning")  # of a conversation, in separate columns


@dataclass(frozen=True)
class Layout:
    """The columns to read, as spelt in the rows.

    Attributes:
        shape: Name of the shape, as in `data.shape`.
        prompt: Columns whose texts are joined by an empty line; only the first is required in every row.
        completion: Column of the answer; None if the first column of `prompt` is a conversation.
        choices: The column of `prompt` with the choices of a question, if any.
        system, history, tools, reasoning: Columns of further parts of the conversation.
        own_id: Column of the rows' own ids.
        rejected: Column of the rejected answer of a preference pair, which is not read.
    """

    shape: str
    prompt: tuple[str, ...]
    completion: str | None
    choices: str | None = None
    system: str | None = None
    history: str | None = None
    tools: str | None = None
    reasoning: str | None = None
    own_id: str | None = None
    rejected: str | None = None

    @property
    def read(self) -> set[str]:
        """The columns that are read, or ignored on purpose."""
        further = (self.completion, self.own_id, self.rejected, *(getattr(self, name) for name in PARTS))
        return {*self.prompt, *(column for column in further if column)}

    def __str__(self) -> str:
        if self.completion is None:
            text = (
                f"shape {self.shape}: conversations in {self.prompt[0]!r}, the last reply is the completion"
            )
        else:
            text = f"shape {self.shape}: prompt = {' + '.join(self.prompt)}, completion = {self.completion}"
        for name, column in (("id", self.own_id), *((name, getattr(self, name)) for name in PARTS)):
            text += f", {name} = {column}" if column else ""
        if self.rejected:
            text += f"; the preferred answer of each pair is read, {self.rejected!r} is only kept in selected_rows.jsonl"
        return text


def _layouts(shape: str, *columns: str) -> list[Layout]:
    """Parse layouts: `prompt completion`, `prompt+further completion`, or the column of a conversation."""
    found = []
    for text in columns:
        prompt, *completion = text.split()
        found.append(Layout(shape, tuple(prompt.split("+")), completion[0] if completion else None))
    return found


def _crossed(shape: str, prompts: str, completions: Sequence[str]) -> list[Layout]:
    return _layouts(
        shape, *(f"{prompt} {completion}" for prompt in prompts.split() for completion in completions)
    )


CANONICAL = [
    *_layouts("question_answer", "question answer"),
    *_layouts("instruction", "instruction+input output"),
    *_layouts("prompt_completion", "prompt completion"),
    *_layouts("messages", "messages"),
]
COMMON = [
    *_layouts("question_answer", "question response", "question output", "query answer", "query response"),
    *_layouts("instruction", "instruction+context response", "instruction+input response"),
    *_layouts("instruction", "instruction+input completion", "instruction+input answer"),
    *_layouts("prompt_completion", "prompt response", "prompt output", "prompt answer"),
    *_layouts("prompt_completion", "input output", "input response", "input target"),
    *_layouts("messages", "conversations", "conversation"),
]
_ANSWERS = "answer answers response output completion solution target targets reply answer_key".split()
RARE = [
    *_crossed("question_answer", "question query problem", [*_ANSWERS, "correct_answer", "final_answer"]),
    *_crossed("instruction", "instruction", _ANSWERS),
    *_crossed("prompt_completion", "prompt user_prompt input inputs", _ANSWERS),
    *_layouts("messages", *CONVERSATIONS),
]
PREFERENCE = [
    *_crossed("preference", "prompt question instruction+input input query", CHOSEN),
    *_layouts("preference", *CHOSEN),
]
KNOWN = (CANONICAL, COMMON, PREFERENCE, RARE)
