"""What people's rows carry beside their text (`data.metadata`): numbers are signals, texts are categories.

A column is one of numbers when at least half of its filled cells are. A cell without a number leaves its row unscored.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gip_exp.config.keys import nearest
from gip_exp.data.rows import Placed, columns_of, listed_columns
from gip_exp.errors import UserError

MISSING = {"", "na", "n/a", "nan", "none", "null", "-", "?"}


@dataclass(frozen=True)
class Metadata:
    """Columns in row order: numbers (NaN where there is none), texts (None), and what is to be said about them."""

    numbers: dict[str, list[float]] = field(default_factory=dict)
    categories: dict[str, list[str | None]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_metadata(rows: Sequence[Placed], columns: Sequence[str]) -> Metadata:
    """The columns of the rows. Raises UserError for a column that no row has a value in."""
    found = Metadata()
    there = columns_of(rows)
    for column in dict.fromkeys(columns):
        cells = [row.row.get(column) if isinstance(row.row, Mapping) else None for row in rows]
        filled = [i for i, cell in enumerate(cells) if not _is_missing(cell)]
        if not filled:
            what = (
                "is empty in every row"
                if column in there
                else f"is not there: the rows have {listed_columns(there)}"
            )
            raise UserError(
                f"data.metadata names the column {column!r}, which {what}{nearest(column, there)}; "
                "give columns that have values"
            )
        values = [_number(cell) for cell in cells]
        unread = [i for i in filled if math.isnan(values[i])]
        if 2 * len(unread) > len(filled):
            found.categories[column] = [None if _is_missing(cell) else str(cell) for cell in cells]
            found.notes.append(_category_note(column, found.categories[column]))
            continue
        found.numbers[column] = values
        if unscored := [i for i, value in enumerate(values) if math.isnan(value)]:
            odd = f", {str(cells[unread[0]])[:40]!r} in {rows[unread[0]].place}" if unread else ""
            found.notes.append(
                f"data.metadata column {column!r}: {len(unscored):,} of {len(rows):,} rows have no number and are unscored "
                f"(first: {rows[unscored[0]].place}{odd}); use finite numbers"
            )
    return found


def _category_note(column: str, values: Sequence[str | None]) -> str:
    different = len({value for value in values if value is not None})
    return f"data.metadata column {column!r} holds text: its {different:,} values are categories for the report, no scores"


def _is_missing(cell: Any) -> bool:
    if isinstance(cell, str):
        return cell.strip().casefold() in MISSING
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _number(cell: Any) -> float:
    """A finite number (true and false count as 1 and 0, text as the number that it spells), else NaN."""
    if not isinstance(cell, str | int | float):
        return math.nan
    try:
        value = float(cell)
    except (ValueError, OverflowError):
        return math.nan
    return value if math.isfinite(value) else math.nan
