"""Numbers that people's rows carry beside their text (`data.metadata`), with line numbers in every error."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gip_exp.data.rows import broken_rows

Metadata = dict[str, list[float]]  # column -> one number a row


def numbers(rows: Sequence[tuple[str, Any]], columns: Sequence[str], source: Path | str) -> Metadata:
    """The columns as numbers, in row order. Every cell that is none is named with its place.

    rows: (place, row), rows known to be mappings. Text counts where it reads as a number (CSV knows no other),
    true and false as 1 and 0.
    """
    found: Metadata = {column: [] for column in dict.fromkeys(columns)}
    broken = []
    for place, row in rows:
        for column, values in found.items():
            value, problem = _number(row, column)
            values.append(value)
            if problem:
                broken.append(f"{place}: data.metadata column {column!r} {problem}")
    if broken:
        raise broken_rows(source, broken)
    return found


def _number(row: Mapping[str, Any], column: str) -> tuple[float, str]:
    """(value, '') or (nan, why the cell is no number)."""
    if column not in row:
        return math.nan, f"is missing (the row has {', '.join(map(str, row))})"
    cell = row[column]
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return math.nan, "is empty"
    if not isinstance(cell, str | int | float):
        return math.nan, f"is a {type(cell).__name__}, not a number"
    try:
        value = float(cell)
    except (ValueError, OverflowError):
        return math.nan, f"is {str(cell)[:40]!r}, not a number"
    if not math.isfinite(value):
        return math.nan, f"is {cell}: give a finite number"
    return value, ""
