"""Reading CSV and TSV files; the first line names the columns, and the delimiter is detected."""

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gip_exp.data.rows.opened import as_text, suffix_of
from gip_exp.data.rows.placed import Broken
from gip_exp.errors import UserError

LONGEST_CELL = 2**27
DELIMITERS = ",;\t|"  # of a CSV file, detected from its header; the first of these on a tie


def read_csv(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (place, row) of every row of a CSV or TSV file."""
    csv.field_size_limit(LONGEST_CELL)
    with as_text(path) as stream:
        delimiter = "\t" if suffix_of(path) == ".tsv" else _delimiter(stream.readline())
    with as_text(path, newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        header: list[str] = []
        line = 1
        try:
            for cells in reader:
                if not header:
                    header = _header(cells, path)
                elif cells:
                    yield f"line {line}", _row(header, cells)
                line = reader.line_num + 1
        except csv.Error as error:
            raise UserError(
                f"{path}: line {line}: not valid CSV ({error}): check for an unclosed quote, or one that is not doubled"
            ) from None


def _delimiter(header: str) -> str:
    bare = re.sub(r'"[^"]*"', "", header)
    return max(DELIMITERS, key=lambda sign: (bare.count(sign), -DELIMITERS.index(sign)))


def _header(cells: list[str], path: Path) -> list[str]:
    twice = sorted({cell for cell in cells if cell and cells.count(cell) > 1})
    if twice:
        raise UserError(f"{path}: the header names the column {twice[0]!r} twice: rename one of them")
    return cells


def _row(header: list[str], cells: list[str]) -> Mapping[str, str | None] | Broken:
    if len(cells) > len(header):
        return Broken(
            f"has {len(cells)} cells, but the header {len(header)}: put quotes around cells that contain the delimiter"
        )
    return dict(zip(header, [*cells, *[None] * (len(header) - len(cells))], strict=True))
