"""Converting rows to examples by their layout, with the places of broken rows and counts of special content."""

import base64
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gip_exp.data.rows.cells import (
    Found,
    answer_text,
    cell_text,
    choices,
    choices_text,
    further_text,
    is_missing,
)
from gip_exp.data.rows.conversations import (
    Turn,
    conversation,
    history,
    holds_turns,
    nested,
    reply,
    spoken_text,
)
from gip_exp.data.rows.layouts import Layout
from gip_exp.data.rows.placed import Placed
from gip_exp.data.rows.shapes import listed_columns, no_row
from gip_exp.data.rows.tool_calls import read_tools
from gip_exp.turns import as_texts

Row = Mapping[str, Any]
Example = dict[
    str, Any
]  # id, prompt, completion; turns and tools if it is more than a question and a plain answer
SEVERAL = (
    "are conversations of several turns: the last reply is the completion, the turns before it are the prompt, as a "
    "transcript (User: ..., Assistant: ...)"
)
LATER_SYSTEM = "have a system message after the first turns, which stays there"
TOOLS = "have tools, which are lines of JSON before the first turn"
CALLS = "have tool calls, which are lines of JSON in prompt and completion"
REASONING = "have reasoning, which is put before its reply"
EMPTY, BROKEN = "empty_completion", "broken"  # why a row of the source is left out


@dataclass
class Findings:
    """What was found in rows while they were converted.

    Attributes:
        n_rows, n_examples: Numbers of rows read, and of examples made of them.
        broken: `place: reason` of every row that cannot be used.
        empty: Places of the rows left out because they have no completion.
        left_out: Both of these, as entries of `left_out.jsonl`.
        found: Special content, as the end of a sentence -> (number of rows, first place).
    """

    n_rows: int = 0
    n_examples: int = 0
    broken: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    left_out: list[dict[str, Any]] = field(default_factory=list)
    found: dict[str, tuple[int, str]] = field(default_factory=dict)

    def leave_out(self, row: Placed, why: str, **details: str) -> None:
        """List a row that becomes no example, and so has no id."""
        place = {"row": row.place, "source": row.source, "source_row": row.number}
        self.left_out.append({"id": None, **place, "why": why, **details})


@dataclass
class Reading(Findings):
    """Findings, with the examples in the order of the rows, and the row of each."""

    examples: list[Example] = field(default_factory=list)
    rows: list[Placed] = field(default_factory=list)


def read_examples(rows: Iterable[Placed], layout: Layout, split: str, *, drop_empty: bool = False) -> Reading:
    """Convert rows to examples in memory; the arguments are those of `converted`."""
    reading = Reading()
    for example, row in converted(rows, layout, split, reading, drop_empty=drop_empty):
        reading.examples.append(example)
        reading.rows.append(row)
    return reading


def converted(
    rows: Iterable[Placed], layout: Layout, split: str, findings: Findings, *, drop_empty: bool = False
) -> Iterator[tuple[Example, Placed]]:
    """Yield the example of each usable row, with ids `<split>-<number from 0>`, and the row.

    Args:
        rows: The rows.
        layout: Their columns.
        split: `train` or `test`.
        findings: Is updated while rows are read.
        drop_empty: Leave out rows without a completion; otherwise they are broken rows.
    """
    for placed in rows:
        findings.n_rows += 1
        found: Found = {}
        try:
            turns, tools = _read(placed.row, layout, found)
            without_reply = not (turns[-1]["content"].strip() or turns[-1].get("tool_calls"))
            if without_reply and drop_empty:
                findings.empty.append(placed.place)
                findings.leave_out(placed, EMPTY)
                continue
            example = _example(f"{split}-{findings.n_examples:06d}", turns, tools, found)
            if without_reply:
                raise ValueError("the completion is empty")
        except (ValueError, RecursionError) as error:
            problem = str(error) if isinstance(error, ValueError) else "nested too deeply"
            findings.broken.append(f"{placed.place}: {problem}")
            findings.leave_out(placed, BROKEN, problem=problem)
            continue
        findings.n_examples += 1
        for what in found:
            count, first = findings.found.get(what, (0, placed.place))
            findings.found[what] = (count + 1, first)
        yield example, placed


def _example(name: str, turns: list[Turn], tools: list[dict[str, Any]], found: Found) -> Example:
    """Return the example, with its turns if they are more than a question and a plain answer."""
    prompt, completion = as_texts(turns, tools)
    if not prompt.strip():
        raise ValueError("the prompt is empty")
    example = {"id": name, "prompt": prompt, "completion": completion}
    if tools or [turn["role"] for turn in turns] != ["user", "assistant"] or len(turns[-1]) > 2:
        example |= plain_value({"turns": turns} | ({"tools": tools} if tools else {}))
    _check_characters(example)
    _describe(turns, tools, found)
    return example


def _check_characters(example: Example) -> None:
    for name, value in example.items():
        try:
            (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).encode()
        except UnicodeEncodeError:
            raise ValueError(f"the {name} contains half of a surrogate pair, which is not text") from None


def _describe(turns: Sequence[Turn], tools: Sequence[Any], found: Found) -> None:
    roles = [turn["role"] for turn in turns]
    start = next((i for i, role in enumerate(roles) if role != "system"), 0)
    facts = {
        SEVERAL: len(roles) - start > 2,
        LATER_SYSTEM: "system" in roles[start:],
        TOOLS: bool(tools),
        CALLS: any("tool_calls" in turn for turn in turns),
        REASONING: any("reasoning_content" in turn for turn in turns),
    }
    found |= {what: None for what, holds in facts.items() if holds}


def _read(row: Any, layout: Layout, found: Found) -> tuple[list[Turn], list[dict[str, Any]]]:
    """Return (turns, tools) of a row. Raises ValueError if it cannot be used."""
    if problem := no_row(row):
        raise ValueError(problem)
    first = layout.prompt[0]
    needed = (first,) if layout.completion is None else (first, layout.completion)
    if absent := [column for column in needed if column not in row]:
        existing = listed_columns([str(column) for column in row]) if row else "no columns"
        raise ValueError(f"column {absent[0]!r} is missing (the row has {existing})")
    tools = read_tools(row.get(layout.tools) if layout.tools else None)
    if layout.completion is None:
        turns = _spoken(row[first], layout)
    else:
        turns = _joined(_prompt(row, layout, found), _completion(row, layout, found))
    tools = tools or _tools_inside(row[first])
    earlier = history(row.get(layout.history)) if layout.history else []
    system = cell_text(layout.system, row.get(layout.system), found) if layout.system else ""
    turns = _with_system(system, _after_system(turns, earlier))
    _check_roles(turns)
    return turns, tools


def _spoken(value: Any, layout: Layout) -> list[Turn]:
    turns = spoken_text(value) if layout.shape == "preference" and isinstance(value, str) else []
    return turns or conversation(value)


def _prompt(row: Row, layout: Layout, found: Found) -> list[Turn]:
    """Return the turns of the prompt: a conversation, or the texts of its columns as one user turn."""
    first, *further = layout.prompt
    if not isinstance(row[first], str) and holds_turns(row[first]):
        turns = conversation(row[first])
        texts = []
    else:
        turns, texts = [], [cell_text(first, row[first], found)]
    for column in further:
        read = choices_text if column == layout.choices else None
        value = row.get(column)
        texts.append(read(column, value) if read else further_text(column, value, found))
    content = "\n\n".join(text for text in texts if text.strip())
    if turns and not content:
        return turns
    return [*turns, {"role": "user", "content": content}]


def _completion(row: Row, layout: Layout, found: Found) -> list[Turn]:
    """Return the turns of the completion, which may be a conversation, one turn, or a text."""
    assert layout.completion is not None
    value = row[layout.completion]
    if not isinstance(value, str):
        one = [value] if isinstance(value, Mapping) and holds_turns([value]) else value
        if holds_turns(one):
            return conversation(one)
    of = choices(layout.choices, row.get(layout.choices)) if layout.choices else []
    turn = reply(answer_text(layout.completion, value, found, of))
    thought = further_text(layout.reasoning, row.get(layout.reasoning), found) if layout.reasoning else ""
    if thought.strip() and "reasoning_content" not in turn:
        turn["reasoning_content"] = thought
    return [turn]


def _joined(prompt: list[Turn], answer: list[Turn]) -> list[Turn]:
    """Join prompt and completion; the turns of the prompt are dropped if the completion repeats them (preference pairs)."""
    questions = [turn for turn in prompt if turn["role"] == "user"]
    repeated = [turn for turn in answer if turn["role"] == "user"]
    if questions and repeated and questions[0]["content"].strip() == repeated[0]["content"].strip():
        system = (
            [] if answer[0]["role"] == "system" else [turn for turn in prompt[:1] if turn["role"] == "system"]
        )
        return [*system, *answer]
    return [*prompt, *answer]


def _tools_inside(value: Any) -> list[dict[str, Any]]:
    """Return the tools in an object that also has the turns."""
    if not isinstance(value, Mapping) or nested(value) is None:
        return []
    return read_tools(next((value[key] for key in ("tools", "functions") if value.get(key)), None))


def _after_system(turns: list[Turn], earlier: list[Turn]) -> list[Turn]:
    start = next((i for i, turn in enumerate(turns) if turn["role"] != "system"), len(turns))
    return [*turns[:start], *earlier, *turns[start:]]


def _with_system(text: str, turns: list[Turn]) -> list[Turn]:
    """Put a system message from another column first, unless the turns begin with it."""
    if not text.strip() or (turns and turns[0] == {"role": "system", "content": text}):
        return turns
    return [{"role": "system", "content": text}, *turns]


def _check_roles(turns: Sequence[Turn]) -> None:
    if not turns or turns[-1]["role"] != "assistant":
        last = turns[-1]["role"] if turns else "system"
        raise ValueError(f"the conversation ends with a {last} turn, so there is no reply to learn from")
    if not any(turn["role"] == "user" for turn in turns[:-1]):
        raise ValueError("the conversation has no user turn before the last reply")


def own_id(row: Any, layout: Layout) -> str | int | None:
    """Return the row's own id, or None."""
    value = row.get(layout.own_id) if layout.own_id and isinstance(row, Mapping) else None
    if is_missing(value) or isinstance(value, Mapping | list):
        return None
    return value if isinstance(value, int) else str(value)


def as_json(row: Row) -> str:
    """Convert a row to a line of standard JSON: no NaN, no unpaired surrogates, dates and decimals as text."""
    try:
        plain = plain_value(row)
        text = json.dumps(plain, ensure_ascii=False)
    except RecursionError:
        raise ValueError(f"a row is nested too deeply to be kept: {str(list(row))[:80]}") from None
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(plain)
    return text + "\n"


def plain_value(value: Any) -> Any:
    """Convert a value to JSON types."""
    if is_missing(value) or (isinstance(value, float) and math.isinf(value)):
        return None
    if isinstance(value, str | bool | int | float):
        return value
    if type(value).__module__ == "numpy":  # scalars and arrays, for instance of a data frame
        return plain_value(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
