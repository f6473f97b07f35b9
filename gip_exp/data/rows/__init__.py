"""The user's rows: finding files (`sources`), reading formats (`formats`), detecting columns (`shapes`, of the known
`layouts`), and converting rows to examples (`examples`).

A row becomes an example `{"id", "prompt", "completion"}`. Conversations that are more than a question and a plain answer
also have `turns` and `tools`, from which the two texts are made. Every row has a place (`line 7`, `row 7`,
`part-2.parquet row 7`) that messages refer to.
"""

from gip_exp.data.rows.arrow_files import dataset_rows
from gip_exp.data.rows.examples import Example, Findings, Reading, as_json, converted, own_id, read_examples
from gip_exp.data.rows.formats import read_files, read_rows
from gip_exp.data.rows.layouts import Layout
from gip_exp.data.rows.opened import SUFFIXES
from gip_exp.data.rows.placed import Broken, Placed, broken_rows, placed
from gip_exp.data.rows.shapes import LOOKED_AT, columns_of, find_layout, first_rows, listed_columns
from gip_exp.data.rows.sources import Files, find_files, hub_name

__all__ = [
    "LOOKED_AT",
    "SUFFIXES",
    "Broken",
    "Example",
    "Files",
    "Findings",
    "Layout",
    "Placed",
    "Reading",
    "as_json",
    "broken_rows",
    "columns_of",
    "converted",
    "dataset_rows",
    "find_files",
    "find_layout",
    "first_rows",
    "hub_name",
    "listed_columns",
    "own_id",
    "placed",
    "read_examples",
    "read_files",
    "read_rows",
]
