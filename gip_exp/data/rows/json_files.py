"""Reading JSON files: one value per line, a list of rows, or an object that contains the rows; detected by content."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from gip_exp.data.rows.conversations import holds_turns
from gip_exp.data.rows.opened import as_text, suffix_of
from gip_exp.data.rows.placed import Broken
from gip_exp.data.rows.shapes import is_row
from gip_exp.errors import UserError

LISTS = "data rows examples instances items records samples train".split()  # {"data": [row, ...]}
_SPACE = re.compile(r"[ \t\n\r]*")

Rows = Iterator[tuple[str, Any]]  # (place, row)


def read_json(path: Path, note: Callable[[str], None]) -> Rows:
    """Yield (place, row) of every row; `note` is called with parts of an object that are not read."""
    rows = _lines(path) if _is_json_lines(path) else _whole(path)
    first = list(islice(rows, 2))
    if len(first) == 1 and isinstance(first[0][1], dict):
        try:
            yield from _inside(first[0][1], note) or first
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None
        return
    yield from first
    yield from rows


def _is_json_lines(path: Path) -> bool:
    """Return whether a file has one JSON value per line; its ending decides only if the content is not clear."""
    with as_text(path) as stream:
        lines = list(islice((line for line in stream if line.strip()), 1000))
    if not lines:
        return True
    if isinstance(_value(lines[0]), Broken):
        if lines[0].lstrip().startswith("["):
            return False  # a list over several lines
        objects = any(isinstance(_value(line), dict) for line in lines)
        return objects or (suffix_of(path) != ".json" and lines[0].strip() != "{")
    return len(lines) > 1


def _integer(digits: str) -> int | str:
    """Parse an integer; one with too many digits for Python remains text."""
    try:
        return int(digits)
    except ValueError:
        return digits


_DECODER = json.JSONDecoder(parse_int=_integer)


def _value(line: str) -> Any:
    try:
        return _loads(line)
    except json.JSONDecodeError as error:
        return Broken(f"not JSON ({_problem(error)}): {line.strip()[:60]!r}")


def _loads(text: str) -> Any:
    try:
        return json.loads(text)  # faster than a decoder with parse_int
    except json.JSONDecodeError:
        raise
    except ValueError:
        return _DECODER.decode(text)


def _lines(path: Path) -> Rows:
    with as_text(path) as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield f"line {number}", _row(_value(line))


def _row(value: Any) -> Any:
    """Return a line, or a line that is a conversation as a row with one column."""
    return {"messages": value} if isinstance(value, list) and holds_turns(value) else value


def _whole(path: Path) -> Rows:
    """Yield the elements of a list, or values one after the other over several lines."""
    with as_text(path) as stream:
        text = stream.read()
    try:
        start = _space(text, 0)
        if not text.startswith("[", start):
            yield from _sequence(text, start)
            return
        for number, value in enumerate(_elements(text, start + 1), 1):
            yield f"row {number}", _row(value)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}: line {error.lineno}: not JSON ({_problem(error)}): check the file there"
        ) from None


def _elements(text: str, position: int) -> Iterator[Any]:
    """Yield the elements of a JSON list whose opening bracket is before `position`."""
    position = _space(text, position)
    while not text.startswith("]", position):
        value, position = _DECODER.raw_decode(text, position)
        yield value
        position = _space(text, position)
        if text.startswith("]", position):
            break
        if not text.startswith(",", position):
            raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
        position = _space(text, position + 1)
        if text.startswith("]", position):
            raise json.JSONDecodeError("Expecting value", text, position)
    position = _space(text, position + 1)
    if position < len(text):
        raise json.JSONDecodeError("Extra data", text, position)


def _sequence(text: str, position: int) -> Rows:
    """Yield JSON values one after the other, with the line on which each begins."""
    line, counted = 1, 0
    while position < len(text):
        line, counted = line + text.count("\n", counted, position), position
        value, position = _DECODER.raw_decode(text, position)
        yield f"line {line}", value
        position = _space(text, position)


def _space(text: str, position: int) -> int:
    """Return the position of the next character that is not white space."""
    match = _SPACE.match(text, position)
    assert match is not None
    return match.end()


def _inside(lone: Mapping[str, Any], note: Callable[[str], None]) -> list[tuple[str, Any]]:
    """Return the rows in a single object: columns as lists, rows under a key, or rows by id; [] if it is a row."""
    columns = _columns(lone)
    if columns is not None:
        return [(f"row {number}", row) for number, row in enumerate(columns, 1)]
    if is_row(list(lone)) or any(holds_turns(value) for value in lone.values()):
        return []
    key = _key_of_rows(lone)
    if key is not None:
        others = [
            other
            for other, value in lone.items()
            if other != key and isinstance(value, list | dict) and value
        ]
        if others:
            note(f"the rows are those in {key!r}; not read: {', '.join(map(repr, others))}")
        return [(f"row {number} of {key!r}", row) for number, row in enumerate(lone[key], 1)]
    if lone and all(
        isinstance(row, dict) and (is_row(list(row)) or holds_turns(row)) for row in lone.values()
    ):
        return [(f"row {key!r}", row) for key, row in lone.items()]
    return []


def _columns(lone: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the rows of an object of columns (pandas' orients `list`, `dict` and `split`), or None."""
    names, table = lone.get("columns"), lone.get("data")
    if (
        isinstance(names, list)
        and isinstance(table, list)
        and all(_is_list_of(len(names), row) for row in table)
    ):
        return [dict(zip(map(str, names), row, strict=True)) for row in table]
    cells = list(lone.values())
    if cells and all(isinstance(cell, dict) for cell in cells) and len({tuple(cell) for cell in cells}) == 1:
        lone = {name: list(cell.values()) for name, cell in lone.items()}
    elif not cells or not all(isinstance(cell, list) and not holds_turns(cell) for cell in cells):
        return None
    lengths = {len(cell) for cell in lone.values()}
    if not is_row(list(lone)) or lengths in ({0}, set()):
        return None
    if len(lengths) > 1:
        counts = ", ".join(f"{name!r} {len(cell)}" for name, cell in lone.items())
        raise ValueError(f"an object of columns of different lengths ({counts}): give one object per row")
    return [dict(zip(lone, row, strict=True)) for row in zip(*lone.values(), strict=True)]


def _is_list_of(length: int, value: Any) -> bool:
    return isinstance(value, list) and len(value) == length


def _key_of_rows(lone: Mapping[str, Any]) -> str | None:
    """Return the key of the rows: one of the usual names, or else that of the only list of objects."""
    usual = next((key for key in LISTS if isinstance(lone.get(key), list)), None)
    lists = [key for key, value in lone.items() if _is_table(value)]
    return usual or (lists[0] if len(lists) == 1 else None)


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _problem(error: json.JSONDecodeError) -> str:
    """Return what is wrong and where; some of Python's messages end with the word that follows here."""
    return f"{error.msg.removesuffix(' at')} at column {error.colno}"
