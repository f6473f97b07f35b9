"""Which columns hold the prompt and the completion, and rows into examples by them.

Shapes are known by their columns' names, canonical ones first; `data.shape` chooses where several fit, and
`data.columns` names the columns where none does.
"""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from gip_exp.data.rows.conversations import conversation, is_turns
from gip_exp.data.rows.formats import Broken, Placed, broken_rows
from gip_exp.errors import UserError

Row = Mapping[str, Any]
Example = dict[str, str]
LOOKED_AT = 1000  # rows whose columns say what the shape is
MOST_COLUMNS, LONGEST_NAME = 12, 40


@dataclass(frozen=True)
class Layout:
    """Columns, as the rows spell them: the texts of `prompt` joined by an empty line, those after the first where
    a row has them. Without a `completion` the first holds a conversation."""

    shape: str
    prompt: tuple[str, ...]
    completion: str | None

    def __str__(self) -> str:
        if self.completion is None:
            return (
                f"shape {self.shape}: conversations in {self.prompt[0]!r}, the last reply is the completion"
            )
        return f"shape {self.shape}: prompt = {' + '.join(self.prompt)}, completion = {self.completion}"


def _layouts(shape: str, *columns: str) -> list[Layout]:
    """`prompt completion` or `prompt+further completion`; one word is a conversation's column."""
    found = []
    for text in columns:
        prompt, *completion = text.split()
        found.append(Layout(shape, tuple(prompt.split("+")), completion[0] if completion else None))
    return found


CANONICAL = [
    *_layouts("question_answer", "question answer"),
    *_layouts("instruction", "instruction+input output"),
    *_layouts("prompt_completion", "prompt completion"),
    *_layouts("messages", "messages"),
]
FURTHER = [
    *_layouts("question_answer", "question response", "question output", "query answer", "query response"),
    *_layouts("instruction", "instruction+context response", "instruction+input response"),
    *_layouts("instruction", "instruction+input completion", "instruction+input answer"),
    *_layouts("prompt_completion", "prompt response", "prompt output", "prompt answer"),
    *_layouts("prompt_completion", "input output", "input response", "input target"),
    *_layouts("messages", "conversations", "conversation"),
]


def find_layout(
    rows: Sequence[Placed],
    source: Path | str,
    shape: str = "auto",
    prompt: Sequence[str] = (),
    completion: str | None = None,
) -> Layout:
    """The layout of the rows. Raises UserError when none or several fit, naming the columns and the way out.

    shape: one of the shapes' names narrows the choice. prompt, completion: columns that people chose themselves.
    """
    columns = columns_of(rows)
    if not columns:
        broken = [f"{place}: {_no_row(row)}" for place, row in rows if _no_row(row)]
        raise broken_rows(source, broken or ["the rows have no columns"])
    if prompt:
        return _chosen(columns, source, prompt, completion)
    for known in (CANONICAL, FURTHER):
        fitting = _fitting([layout for layout in known if shape in ("auto", layout.shape)], columns)
        if len(fitting) > 1:  # rows of several shapes, or rows that fit several: the first row may know
            fitting = _fitting(fitting, columns_of(rows[:1])) or fitting
        fitting = [one for one in fitting if not any(one.prompt[0] in other.prompt[1:] for other in fitting)]
        if len({layout.shape for layout in fitting}) > 1:
            names = ", ".join(dict.fromkeys(layout.shape for layout in fitting))
            raise _unclear(columns, source, f"fit several shapes ({names})")
        if fitting:
            return _spelt(fitting[0], columns)
    raise _unclear(
        columns, source, "fit no known shape" if shape == "auto" else f"do not fit data.shape={shape}"
    )


def columns_of(rows: Sequence[Placed]) -> list[str]:
    """The columns that the first rows have, in the order in which they appear."""
    mappings = (row for _, row in rows if isinstance(row, Mapping))
    return list(dict.fromkeys(str(column) for row in islice(mappings, LOOKED_AT) for column in row))


def _plain(name: str) -> str:
    return name.strip().casefold()


def _fitting(layouts: Sequence[Layout], columns: Sequence[str]) -> list[Layout]:
    """The layouts that the columns allow; of one shape, those first that read more of the columns."""
    there = {_plain(column) for column in columns}
    fitting = [one for one in layouts if one.prompt[0] in there and one.completion in (None, *there)]
    return sorted(fitting, key=lambda one: -len(there.intersection(one.prompt)))


def _spelt(layout: Layout, columns: Sequence[str]) -> Layout:
    """The layout in the rows' own spelling, without further prompt columns that no row has."""
    spelling = {_plain(column): column for column in reversed(columns)} | {
        column: column for column in columns
    }
    prompt = tuple(spelling[column] for column in layout.prompt if column in spelling)
    return Layout(layout.shape, prompt, layout.completion and spelling[layout.completion])


def _chosen(
    columns: Sequence[str], source: Path | str, prompt: Sequence[str], completion: str | None
) -> Layout:
    absent = [column for column in (*prompt, completion) if column is not None and column not in columns]
    if absent:
        raise UserError(
            f"data.columns: {source} has no column {absent[0]!r}; it has {listed_columns(columns)}"
        )
    return Layout("columns", tuple(prompt), completion)


def listed_columns(columns: Sequence[str]) -> str:
    """Columns' names for people; of many, the first."""
    more = len(columns) - MOST_COLUMNS
    shown = [repr(column[:LONGEST_NAME]) for column in columns[:MOST_COLUMNS]]
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _unclear(columns: Sequence[str], source: Path | str, what: str) -> UserError:
    known: dict[str, list[str]] = {}
    for layout in (*CANONICAL, *FURTHER):
        names = "/".join((*layout.prompt, layout.completion) if layout.completion else layout.prompt)
        known.setdefault(layout.shape, []).append(names)
    shapes = "".join(f"\n  data.shape={shape}: {', '.join(names)}" for shape, names in known.items())
    alone = (
        "\nText without a prompt and a completion cannot be selected here: split it, or give its features to "
        "selection.gip_select"
        if {_plain(column) for column in columns} & {"text", "content"}
        else ""
    )
    return UserError(
        f"{source}: the columns {listed_columns(columns)} {what}. Known are{shapes}\n"
        "Choose data.shape, or name your columns: data.columns.prompt=COLUMN data.columns.completion=COLUMN "
        f"(in a CSV file the first line must name them){alone}"
    )


@dataclass(frozen=True)
class Reading:
    """What came of the rows: examples, the rows behind them in the same order, and the places of the others.

    `broken` and `empty` (rows without a completion, where those are left out) say `place: why` and `place`.
    `several`: conversations of more than one question. `repeated`: places of rows whose texts stood before.
    """

    examples: list[Example]
    rows: list[tuple[str, Row]]
    broken: list[str]
    empty: list[str]
    repeated: list[str]
    several: int


def read_examples(rows: Sequence[Placed], layout: Layout, split: str, *, drop_empty: bool = False) -> Reading:
    """Examples in the rows' order, ids `<split>-<number from 0>` among those that are kept."""
    examples: list[Example] = []
    kept: list[tuple[str, Row]] = []
    broken: list[str] = []
    empty: list[str] = []
    repeated: list[str] = []
    seen: set[tuple[str, str]] = set()
    several = 0
    for place, row in rows:
        problem, prompt, completion, turns = _read(row, layout)
        if not problem and not completion.strip() and drop_empty:
            empty.append(place)
            continue
        if problem := problem or _no_text("prompt", prompt) or _no_text("completion", completion):
            broken.append(f"{place}: {problem}")
            continue
        if (prompt, completion) in seen:
            repeated.append(place)
        seen.add((prompt, completion))
        several += turns
        examples.append({"id": f"{split}-{len(examples):06d}", "prompt": prompt, "completion": completion})
        kept.append((place, row))
    return Reading(examples, kept, broken, empty, repeated, several)


def as_json(row: Row) -> str:
    """A row as one line of JSON that any reader takes: no NaN, no half surrogate pairs, dates and decimals as text."""
    text = json.dumps(_plain_value(row), ensure_ascii=False, default=str)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(_plain_value(row), default=str)
    return text + "\n"


def _plain_value(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_value(item) for item in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _read(row: Any, layout: Layout) -> tuple[str, str, str, bool]:
    """(problem or '', prompt, completion, whether it is a transcript of several questions)."""
    if problem := _no_row(row):
        return problem, "", "", False
    first, *further = layout.prompt
    needed = (first,) if layout.completion is None else (first, layout.completion)
    if absent := [column for column in needed if column not in row]:
        has = listed_columns([str(column) for column in row]) if row else "nothing"
        return f"column {absent[0]!r} is missing (the row has {has})", "", "", False
    asked, answered = row[first], row[layout.completion] if layout.completion is not None else None
    try:
        if layout.completion is None:
            read = conversation(asked)
        elif is_turns(asked) and is_turns(answered):  # TRL's conversational form
            read = conversation([*asked, *answered])
        else:
            texts = [_as_text(first, asked), *(_as_text(column, row.get(column)) for column in further)]
            prompt = "\n\n".join(text for text in texts if text.strip())
            return "", prompt, _as_text(layout.completion, answered), False
    except ValueError as error:
        return str(error), "", "", False
    return "", read.prompt, read.completion, read.several


def _as_text(column: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(
            f"column {column!r} must be text, it is a {type(value).__name__}: {str(value)[:40]!r}"
        )
    return value


def _no_row(row: Any) -> str:
    if isinstance(row, Broken):
        return row.problem
    return "" if isinstance(row, Mapping) else f"must be an object, it is a {type(row).__name__}"


def _no_text(name: str, text: str) -> str:
    """Why a text cannot be a prompt or a completion, or ''."""
    if not text.strip():
        return f"the {name} is empty"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return f"the {name} holds half of a surrogate pair, which is no text"
    return ""
