"""Rows with their places, and the error that lists the rows that cannot be used."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gip_exp.errors import UserError, listed

MOST_SHOWN = 10


@dataclass(frozen=True)
class Broken:
    """A row that could not be read, with the reason."""

    problem: str


class Placed(NamedTuple):
    """A row (or `Broken`) with its place for messages, and its number from 1 in its source."""

    place: str
    row: Any
    source: str = ""
    number: int = 0


def placed(rows: Iterable[Any], source: str = "") -> Iterator[Placed]:
    """Number the rows of one source."""
    return (Placed(f"row {number}", row, source, number) for number, row in enumerate(rows, 1))


def broken_rows(source: Path | str, broken: Sequence[str], remedy: str = "fix or remove them") -> UserError:
    """Return one error for all broken rows, listing the first ten."""
    more = len(broken) - MOST_SHOWN
    shown = [*broken[:MOST_SHOWN], *([f"... and {more:,} more"] if more > 0 else [])]
    if len(broken) == 1:
        return UserError(f"{source}: {shown[0]}; {remedy}")
    return listed(f"{source}: {len(broken):,} broken rows; {remedy}:", shown)
