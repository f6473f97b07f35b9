"""The rows given to `select_rows`, as a file that the pipeline reads, with computed scores as further columns."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gip_exp.config.keys import nearest
from gip_exp.data.rows import as_json
from gip_exp.data.tables import frame_rows
from gip_exp.errors import UserError
from gip_exp.storage.files import replacing

Row = Mapping[str, Any]
Score = str | Callable[[Row], float]
Scores = Score | Sequence[str] | Mapping[str, Score]


def plain_rows(rows: Any) -> Sequence[Row] | None:
    """Return rows in memory as a sequence of mappings; None for a path.

    Raises:
        UserError: `rows` is neither, or a row is not a mapping.
    """
    if isinstance(rows, str | Path):
        return None
    on_disk = hasattr(rows, "with_format")  # a Dataset
    if not on_disk and (framed := frame_rows(rows)) is not None:
        rows = framed
    if isinstance(rows, Mapping) or not isinstance(rows, Iterable):
        raise UserError(
            f"rows is a {type(rows).__name__}: give a list of dicts, a Dataset, a DataFrame or a path"
            + (" (of a DatasetDict, one split)" if isinstance(rows, Mapping) else "")
        )
    if not isinstance(rows, Sequence):
        rows = rows if on_disk else list(rows)
    for at, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise UserError(f"rows[{at}] is a {type(row).__name__}: give a dict with the columns of the row")
    if not len(rows):
        raise UserError("rows is empty: give at least two rows")
    return rows


def named_scores(scores: Scores) -> dict[str, Score]:
    """Return scores as name -> column or function."""
    if isinstance(scores, str):
        return {scores: scores}
    if callable(scores):
        name = getattr(scores, "__name__", "score")
        return {name if name.isidentifier() else "score": scores}
    if isinstance(scores, Mapping):
        return dict(scores)
    named = list(scores)
    if wrong := [one for one in named if not isinstance(one, str)]:
        raise UserError(
            f"scores has {wrong[0]!r}: give names of columns, or a dict of name -> function of a row"
        )
    return {name: name for name in named}


def write(rows: Sequence[Row], scores: Mapping[str, Score], path: Path) -> None:
    """Write rows as JSON lines, with a column for each score that is a function or has another name.

    Raises:
        UserError: a score would replace a column, names a column that no row has, or its function fails or gives no
            number for a row.
    """
    added = {name: score for name, score in scores.items() if score != name}
    for column in (score for score in scores.values() if isinstance(score, str)):
        if not any(column in row for row in rows):
            existing = list(dict.fromkeys(str(name) for row in rows for name in row))
            raise UserError(
                f"scores names the column {column!r}, which no row has{nearest(column, existing)}: give a column of rows"
            )
    with replacing(path) as stream:
        for at, row in enumerate(rows):
            if taken := [name for name in added if name in row]:
                raise UserError(
                    f"scores names {taken[0]!r}, which is a column of rows[{at}] already: choose another name"
                )
            values = {name: _value(score, row, at, name) for name, score in added.items()}
            stream.write(as_json({**row, **values}).encode())


def _value(score: Score, row: Row, at: int, name: str) -> Any:
    if isinstance(score, str):
        return row.get(score)
    try:
        value = float(score(row))
    except Exception as error:
        raise UserError(f"scores[{name!r}] fails on rows[{at}]: {type(error).__name__}: {error}") from error
    return None if math.isnan(value) else value
