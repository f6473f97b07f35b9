"""Mutations of rows for the data campaign: columns, values and rows that are not as they should be."""

import json
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any

Rows = list[Any]
Chance = random.Random

# Written by `bad_data_files.lines` as what Python cannot write: an integer of 5,000 digits, lists in lists.
RAW = {"@HUGE@": "7" * 5000, "@DEEP@": "[" * 300 + "]" * 300, "@DEEPER@": "[" * 3000 + "]" * 3000}

SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"  # line ends for str.splitlines, but not for JSON Lines
ODD_NAMES = ("", "a.b", "a\nb", "{x}", "\u2028", "[red]x[/red]", "__proto__")
OTHER_ROWS: Rows = [
    {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}]},
    {"question": "1+1?", "answer": "2"},
    {"instruction": "Name a colour.", "input": "", "output": "Red."},
    {"text": "Neither question nor answer."},
]


def _some(rows: Rows, chance: Chance) -> list[int]:
    """Numbers of some rows that are objects: at least one, if there is one."""
    objects = [number for number, row in enumerate(rows) if isinstance(row, dict) and row]
    return sorted(chance.sample(objects, chance.randint(1, max(1, len(objects) // 2)))) if objects else []


def _column(rows: Rows, chance: Chance) -> str:
    return chance.choice(sorted({name for row in rows if isinstance(row, dict) for name in row}))


def _cells(change: Callable[[Any, Chance], Any], *, every: bool = False) -> Callable[[Rows, Chance], Rows]:
    """A mutation of one column's cells, in some rows or in every one."""

    def mutate(rows: Rows, chance: Chance) -> Rows:
        name = _column(rows, chance)
        for number in range(len(rows)) if every else _some(rows, chance):
            if isinstance(rows[number], dict) and name in rows[number]:
                rows[number][name] = change(rows[number][name], chance)
        return rows

    return mutate


def _to(value: Any, *, every: bool = False) -> Callable[[Rows, Chance], Rows]:
    return _cells(lambda *_: deepcopy(value), every=every)


def _within(text: str) -> Callable[[Rows, Chance], Rows]:
    """A mutation that puts a text into the middle of texts, also of those in turns."""

    def put(value: Any, chance: Chance) -> Any:
        if isinstance(value, str):
            half = len(value) // 2
            return value[:half] + text + value[half:]
        if isinstance(value, list):
            return [put(item, chance) for item in value]
        if isinstance(value, dict):
            return {
                key: put(item, chance) if key in ("content", "value") else item for key, item in value.items()
            }
        return value

    return _cells(put)


def _drop(rows: Rows, chance: Chance, *, every: bool) -> Rows:
    name = _column(rows, chance)
    for number in range(len(rows)) if every else _some(rows, chance):
        rows[number].pop(name, None)
    return rows


def _rename(
    rows: Rows, chance: Chance, *, every: bool, to: Callable[[str], str] = lambda name: f"{name}_2"
) -> Rows:
    name = _column(rows, chance)
    for number in range(len(rows)) if every else _some(rows, chance):
        rows[number] = {to(key) if key == name else key: value for key, value in rows[number].items()}
    return rows


def _swap(rows: Rows, chance: Chance) -> Rows:
    one, other = _column(rows, chance), _column(rows, chance)
    swapped = {one: other, other: one}
    for number in _some(rows, chance):
        rows[number] = {swapped.get(key, key): value for key, value in rows[number].items()}
    return rows


def _insert(rows: Rows, chance: Chance, new: Rows) -> Rows:
    for value in new:
        rows.insert(chance.randint(0, len(rows)), deepcopy(value))
    return rows


def _with_ids(make: Callable[[int], Any]) -> Callable[[Rows, Chance], Rows]:
    return lambda rows, _: [{"id": make(number), **row} for number, row in enumerate(rows)]


ROWS: dict[str, Callable[[Rows, Chance], Rows]] = {
    "a column dropped": lambda rows, chance: _drop(rows, chance, every=True),
    "a column dropped from some rows": lambda rows, chance: _drop(rows, chance, every=False),
    "a column renamed": lambda rows, chance: _rename(rows, chance, every=True),
    "a column renamed in some rows": lambda rows, chance: _rename(rows, chance, every=False),
    "a column in capitals": lambda rows, chance: _rename(rows, chance, every=True, to=lambda name: f" {name.upper()} "),
    "a column with an odd name": lambda rows, chance: _rename(rows, chance, every=True, to=lambda _: chance.choice(ODD_NAMES)),
    "two columns swapped in some rows": _swap,
    "numbers for texts": _to(7),
    "truth values for texts": _to(True),
    "a list for a value": _cells(lambda value, _: [value]),
    "lists for every value": _cells(lambda value, _: [value], every=True),
    "an object for a value": _cells(lambda value, _: {"inner": value}),
    "JSON as text for a value": _cells(lambda value, _: json.dumps(value)),
    "null in some rows": _to(None),
    "null in every row": _to(None, every=True),
    "NaN in some rows": _to(float("nan")),
    "infinity in some rows": _to(float("-inf")),
    "huge integers": _to("@HUGE@"),
    "huge floats": _to(1e308),
    "empty texts in some rows": _to(""),
    "empty texts in every row": _to("", every=True),
    "blank texts": _to(" \t\n\u00a0\u3000"),
    "the words null and nan": _cells(lambda _, chance: chance.choice(["null", "nan", "None", "N/A", "NaN"])),
    "rows repeated": lambda rows, chance: _insert(rows, chance, [chance.choice(rows) for _ in rows]),
    "the same row only": lambda rows, _: [deepcopy(rows[0]) for _ in range(6)],
    "ids repeated": _with_ids(lambda _: "same"),
    "ids of several types": _with_ids(lambda number: [number, str(number), None, 1.5, [number]][number % 5]),
    "one row": lambda rows, chance: [chance.choice(rows)],
    "no row": lambda *_: [],
    "rows of other kinds": lambda rows, chance: _insert(rows, chance, chance.sample(OTHER_ROWS, 2)),
    "rows that are no objects": lambda rows, chance: _insert(rows, chance, [None, 3, "text", [1], True]),
    "empty objects": lambda rows, chance: _insert(rows, chance, [{}, {}]),
    "300 further columns": lambda rows, _: [{**row, **{f"c{n}": n for n in range(300)}} for row in rows],
    "a text of 300,000 characters": _cells(lambda *_: "long words " * 27_000),
    "a value nested 300 deep": _to("@DEEP@"),
    "a value nested 3,000 deep": _to("@DEEPER@"),
    "unicode line separators in texts": _within(SEPARATORS),
    "control characters in texts": _within("\x00\x01\x1b[2J\x7f\u202e"),
    "half a surrogate pair": _within("\ud83d"),
    "emoji, combining and right-to-left signs": _within("👩‍👩‍👧 e\u0301 \u05d0\u05d1 \ufeff"),
}  # fmt: skip
