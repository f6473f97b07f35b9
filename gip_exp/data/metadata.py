"""Metadata columns of the rows (`data.metadata`): numeric columns are signals, text columns are categories.

A column is numeric if at least half of its non-empty cells are numbers. Rows without a number are unscored.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from gip_exp.config.keys import nearest
from gip_exp.data.rows import Placed, columns_of, listed_columns
from gip_exp.data.rows.cells import is_missing
from gip_exp.errors import UserError

MISSING = {"", "na", "n/a", "nan", "none", "null", "-", "?"}


@dataclass(frozen=True)
class Metadata:
    """Numeric columns (NaN for missing values), text columns (None for missing values), and notes on them."""

    numbers: dict[str, list[float]] = field(default_factory=dict)
    categories: dict[str, list[str | None]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_metadata(rows: Sequence[Placed], columns: Sequence[str]) -> Metadata:
    """Read columns of the rows. Raises UserError for a column without any value."""
    found = Metadata()
    existing = columns_of(rows)
    for column in dict.fromkeys(columns):
        cells = [row.row.get(column) if isinstance(row.row, Mapping) else None for row in rows]
        filled = [i for i, cell in enumerate(cells) if not _is_missing(cell)]
        if not filled:
            why = (
                "is empty in every row"
                if column in existing
                else f"does not exist: the rows have {listed_columns(existing)}"
            )
            raise UserError(
                f"data.metadata names the column {column!r}, which {why}{nearest(column, existing)}; "
                "give columns that have values"
            )
        values = [_number(cell) for cell in cells]
        unread = [i for i in filled if math.isnan(values[i])]
        if 2 * len(unread) > len(filled):
            found.categories[column] = [None if _is_missing(cell) else str(cell) for cell in cells]
            found.notes.append(_category_note(column, found.categories[column], str(cells[unread[0]])))
            continue
        found.numbers[column] = values
        if unscored := [i for i, value in enumerate(values) if math.isnan(value)]:
            example = f", {str(cells[unread[0]])[:40]!r} in {rows[unread[0]].place}" if unread else ""
            found.notes.append(
                f"data.metadata column {column!r}: {len(unscored):,} of {len(rows):,} rows have no number and are unscored "
                f"(first: {rows[unscored[0]].place}{example}); use finite numbers"
            )
    return found


def _category_note(column: str, values: Sequence[str | None], first: str) -> str:
    different = len({value for value in values if value is not None})
    return (
        f"data.metadata column {column!r} is text (first: {first[:40]!r}; numbers are written as 1234.5): its {different:,} "
        "values are categories for the report, not scores"
    )


def _is_missing(cell: Any) -> bool:
    return cell.strip().casefold() in MISSING if isinstance(cell, str) else is_missing(cell)


def _number(cell: Any) -> float:
    """Convert a cell (a number, a decimal, a boolean, or text with a number) to a finite number, or NaN."""
    if not isinstance(cell, str | int | float | Decimal):
        return math.nan
    try:
        value = float(cell)
    except (ValueError, OverflowError):
        return math.nan
    return value if math.isfinite(value) else math.nan
