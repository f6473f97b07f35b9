"""Reading a ranking made by another program: ids or row numbers, best first.

- parquet: a column `row` (row numbers from 0, in the order of the data) or `id`, or a single column;
- JSONL (`.jsonl`, `.json`): one id or row number per line, or an object with `row` or `id`;
- .npy: a vector of row numbers (integers) or ids (text).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gip_exp.errors import UserError, listed
from gip_exp.storage.files import file_digest

SHOWN = 5  # problems listed in a message


def digest(path: Path) -> str:
    """Return the SHA-256 of the file. Raises UserError if it cannot be read."""
    try:
        return file_digest(path)
    except OSError as error:
        raise UserError(f"selector.path={path} cannot be read ({error.strerror})") from None


def read(path: Path, ids: Sequence[str]) -> list[int]:
    """Read a ranking as row numbers, best first.

    Args:
        path: The file, whose ending gives the format.
        ids: The ids of the rows, in order.

    Raises:
        UserError: the file cannot be read, or an entry is unknown, out of range or repeated.
    """
    try:
        entries = _entries(path)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"selector.path={path} cannot be read as a ranking ({error})") from error
    place = {name: row for row, name in enumerate(ids)}
    rows, seen, problems = [], set(), []
    for number, entry in enumerate(entries, 1):
        row = place.get(entry) if isinstance(entry, str) else entry
        if row is None or not 0 <= row < len(ids):
            problems.append(
                f"entry {number}: {entry!r} is not a {_kind(entry)} of the pool ({len(ids)} rows)"
            )
        elif row in seen:
            problems.append(f"entry {number}: {entry!r} is repeated")
        else:
            seen.add(row)
            rows.append(row)
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise listed(f"selector.path={path} does not fit the data:", problems[:SHOWN] + more)
    return rows


def _kind(entry: Any) -> str:
    return "known id" if isinstance(entry, str) else "row number"


def _entries(path: Path) -> list[Any]:
    if path.suffix == ".npy":
        values = np.load(path, allow_pickle=False)
        if values.ndim != 1 or values.dtype.kind not in "iuU":
            raise ValueError(f"it must be a vector of integers or text, but is {values.dtype} {values.shape}")
        return values.tolist()
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        return [_checked(value) for value in table[_column(table.column_names)].to_pylist()]
    if path.suffix in (".jsonl", ".json"):
        lines = path.read_text(encoding="utf-8").split("\n")  # splitlines() would also split within a text
        return [_checked(_value(json.loads(line))) for line in lines if line.strip()]
    raise ValueError(f"the ending {path.suffix!r} is unknown: give .parquet, .jsonl or .npy")


def _column(names: Sequence[str]) -> str:
    for known in ("row", "id"):
        if known in names:
            return known
    if len(names) != 1:
        raise ValueError(f"it has the columns {', '.join(names)}: rename one of them to row or id")
    return names[0]


def _value(line: Any) -> Any:
    return line[_column(list(line))] if isinstance(line, dict) else line


def _checked(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{value!r} is neither an id nor a row number")
    return value
