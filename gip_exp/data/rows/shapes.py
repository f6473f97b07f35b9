"""Detecting the columns of prompt and completion, or of a conversation and its parts.

Shapes are detected by the names of columns, canonical names first, then by a column of turns with any name. If several
fit, `data.shape` chooses one; if none fits, `data.columns` names the columns.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import Any

from gip_exp.data.rows.conversations import holds_turns
from gip_exp.data.rows.layouts import CANONICAL, COMMON, KNOWN, PREFERENCE, Layout
from gip_exp.data.rows.names import (
    CHOICES,
    FURTHER,
    HISTORY,
    OWN_ID,
    REASONING,
    REJECTED,
    SYSTEM,
    TOOLS,
    all_of,
    first_of,
    plain,
    without,
)
from gip_exp.data.rows.placed import Broken, Placed, broken_rows
from gip_exp.errors import UserError

LOOKED_AT = 1000  # rows used to detect the shape
MOST_COLUMNS, LONGEST_NAME = 12, 40


def first_rows(rows: Iterator[Placed]) -> list[Placed]:
    """Take the rows from which the layout is detected."""
    taken: list[Placed] = []
    found = 0
    while found < LOOKED_AT and (row := next(rows, None)) is not None:
        taken.append(row)
        found += isinstance(row.row, Mapping)
    return taken


def find_layout(
    rows: Sequence[Placed],
    source: Path | str,
    shape: str = "auto",
    chosen: Mapping[str, Any] | None = None,
) -> Layout:
    """Detect the layout of the rows from the first thousand.

    Args:
        rows: The rows.
        source: Their source, for messages.
        shape: Name of a shape, or `auto`.
        chosen: Columns given by the user (`data.columns`); those that are None or empty are detected.

    Raises:
        UserError: no shape or several shapes fit.
    """
    columns = columns_of(rows)
    if not columns:
        broken = [f"{one.place}: {no_row(one.row)}" for one in rows if no_row(one.row)]
        raise broken_rows(source, broken or ["the rows have no columns"])
    named = {name: value for name, value in (chosen or {}).items() if value}
    if named:
        _check_named(named, columns, source)
    if "prompt" in named or "conversation" in named:
        prompt = named.get("prompt") or named["conversation"]
        prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt)
        choices = first_of(CHOICES, prompts[1:])
        found = Layout("columns", prompts, named.get("completion"), choices=choices)
    else:
        found = _with_parts(_found(rows, columns, source, shape), columns)
    parts = {name: value for name, value in named.items() if name in Layout.__dataclass_fields__}
    own_id = first_of(OWN_ID, columns)
    return replace(
        found, **{"own_id": own_id, **parts, "prompt": found.prompt, "completion": found.completion}
    )


def _check_named(named: Mapping[str, Any], columns: Sequence[str], source: Path | str) -> None:
    given = [column for value in named.values() for column in ([value] if isinstance(value, str) else value)]
    absent = [column for column in given if column not in columns]
    if absent:
        raise UserError(
            f"data.columns: {source} has no column {absent[0]!r}; it has {listed_columns(columns)}"
        )


def _found(rows: Sequence[Placed], columns: Sequence[str], source: Path | str, shape: str) -> Layout:
    for there, known in product((_usual(rows), columns), KNOWN):
        fitting = _fitting([layout for layout in known if shape in ("auto", layout.shape)], there)
        if len(fitting) > 1:  # the first row may decide
            fitting = _fitting(fitting, columns_of(rows[:1])) or fitting
        fitting = [one for one in fitting if not any(one.prompt[0] in other.prompt[1:] for other in fitting)]
        if len({layout.shape for layout in fitting}) > 1:
            shapes = ", ".join(dict.fromkeys(layout.shape for layout in fitting))
            raise _unclear(columns, source, f"fit several shapes ({shapes})")
        if fitting:
            return _spelt(fitting[0], columns)
    turns = _columns_of_turns(rows, columns) if shape in ("auto", "messages") else []
    if len(turns) > 1:
        raise _unclear(
            columns,
            source,
            f"have several conversations ({listed_columns(turns)}): data.columns.conversation=COLUMN",
        )
    if turns:
        return Layout("messages", (turns[0],), None)
    raise _unclear(
        columns, source, "fit no known shape" if shape == "auto" else f"do not fit data.shape={shape}"
    )


def is_row(columns: Sequence[str]) -> bool:
    """Return whether an object with these columns is a row of a known shape."""
    return any(_fitting(known, columns) for known in KNOWN)


def columns_of(rows: Sequence[Placed]) -> list[str]:
    """Return the columns of the first rows, in the order of appearance."""
    mappings = _mappings(rows)
    return list(dict.fromkeys(str(column) for row in mappings for column in row))


def _usual(rows: Sequence[Placed]) -> list[str]:
    """Return the columns that at least half of the first rows have, so that a few odd rows do not change the shape."""
    counts = Counter(str(column) for row in _mappings(rows) for column in row)
    looked_at = sum(1 for _ in _mappings(rows))
    return [column for column, count in counts.items() if 2 * count >= looked_at]


def _mappings(rows: Sequence[Placed]) -> Iterator[Mapping[str, Any]]:
    return islice((one.row for one in rows if isinstance(one.row, Mapping)), LOOKED_AT)


def _columns_of_turns(rows: Sequence[Placed], columns: Sequence[str]) -> list[str]:
    """Return the columns in which most values are conversations, except those of rejected answers."""
    found = []
    for column in without(REJECTED, columns):
        cells = [row[column] for row in _mappings(rows) if row.get(column) is not None]
        if cells and 2 * sum(map(holds_turns, cells)) > len(cells):
            found.append(column)
    return found


def _fitting(layouts: Sequence[Layout], columns: Sequence[str]) -> list[Layout]:
    """Return the layouts that fit the columns, those that read more columns first."""
    existing = {plain(column) for column in columns}

    def has(column: str | None) -> bool:
        return column is None or plain(column) in existing

    fitting = [one for one in layouts if has(one.prompt[0]) and has(one.completion)]
    return sorted(fitting, key=lambda one: -sum(map(has, one.prompt)))


def _spelt(layout: Layout, columns: Sequence[str]) -> Layout:
    """Return the layout with the columns as spelt in the rows, without prompt columns that no row has."""
    prompt = all_of(layout.prompt, columns)
    return replace(
        layout,
        prompt=tuple(prompt),
        completion=layout.completion and first_of([layout.completion], columns),
    )


def _with_parts(layout: Layout, columns: Sequence[str]) -> Layout:
    """Return the layout with the other columns that are part of the conversation."""
    free = [column for column in columns if column not in (*layout.prompt, layout.completion)]
    found = replace(
        layout,
        system=first_of(SYSTEM, free),
        history=first_of(HISTORY, free),
        tools=first_of(TOOLS, free),
        rejected=first_of(REJECTED, free) if layout.shape == "preference" else None,
    )
    if layout.completion is None:
        return found
    choices = first_of(CHOICES, free)
    prompt = (*layout.prompt, *all_of(FURTHER, free), *([choices] if choices else []))
    return replace(found, prompt=prompt, choices=choices, reasoning=first_of(REASONING, free))


def listed_columns(columns: Sequence[str]) -> str:
    """Return the names of columns for messages, shortened if there are many."""
    more = len(columns) - MOST_COLUMNS
    shown = [repr(column[:LONGEST_NAME]) for column in columns[:MOST_COLUMNS]]
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def no_row(row: Any) -> str:
    """Return why a value is not a row, or ''."""
    if isinstance(row, Broken):
        return row.problem
    return "" if isinstance(row, Mapping) else f"must be an object, it is a {type(row).__name__}"


def _unclear(columns: Sequence[str], source: Path | str, what: str) -> UserError:
    known: dict[str, list[str]] = {}
    for layout in (*CANONICAL, *COMMON, *PREFERENCE):
        columns_read = "/".join((*layout.prompt, layout.completion) if layout.completion else layout.prompt)
        known.setdefault(layout.shape, []).append(columns_read)
    shapes = "".join(f"\n  data.shape={shape}: {', '.join(read)}" for shape, read in known.items())
    alone = (
        "\nText without a prompt and a completion cannot be selected here: split it, or pass its embeddings to "
        "selection.gip_select"
        if {plain(column) for column in columns} & {"text", "content"}
        else ""
    )
    return UserError(
        f"{source}: the columns {listed_columns(columns)} {what}. Known shapes:{shapes}\n"
        "Choose data.shape, or give your columns: data.columns.prompt=COLUMN data.columns.completion=COLUMN, or "
        "data.columns.conversation=COLUMN for a column of turns "
        f"(in a CSV file the first line must name the columns){alone}"
    )
