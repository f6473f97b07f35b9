"""People's rows: which files they are in (`sources`), reading any format (`formats`), finding their shape (`shapes`).

A row becomes an example `{"id", "prompt", "completion"}`: what the user asks and what the model should answer. Every
row keeps its place (`line 7`, `row 7`, `part-2.parquet row 7`), and a row that cannot be used is named by it.
"""

from gip_exp.data.rows.formats import SUFFIXES, Broken, Placed, broken_rows, read_files, read_rows
from gip_exp.data.rows.shapes import (
    Example,
    Layout,
    Reading,
    as_json,
    columns_of,
    find_layout,
    listed_columns,
    read_examples,
)
from gip_exp.data.rows.sources import Files, find_files, hub_name

__all__ = [
    "SUFFIXES",
    "Broken",
    "Example",
    "Files",
    "Layout",
    "Placed",
    "Reading",
    "as_json",
    "broken_rows",
    "columns_of",
    "find_files",
    "find_layout",
    "hub_name",
    "listed_columns",
    "read_examples",
    "read_files",
    "read_rows",
]
