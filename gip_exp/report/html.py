"""The report as one self-contained HTML page: figures inlined as SVG, sortable tables, no network."""

import re
from base64 import b64encode
from pathlib import Path

from gip_exp.pages import environment
from gip_exp.report.document import Document, Table
from gip_exp.report.text import number_in, slugged


def render(document: Document) -> str:
    """Return the page as text."""
    templates = environment(Path(__file__).parent)
    templates.filters["slugged"] = slugged
    templates.filters["base64"] = lambda svg: b64encode(svg.encode()).decode()
    templates.filters["number_in"] = _number
    templates.filters["numeric"] = numeric_columns
    page = templates.get_template("page.html").render(document=document)
    return re.sub(r"(\d) %", "\\1\u00a0%", page)  # a number and its percent sign stay on one line


def numeric_columns(table: Table) -> list[bool]:
    """Return for each column whether it is sorted as numbers: it is aligned as such, and a cell has one."""
    return [
        column.align == "right" and any(number_in(row[at]) is not None for row in table.rows)
        for at, column in enumerate(table.columns)
    ]


def _number(shown: str) -> str:
    """Return the number by which a cell is sorted; "" for none."""
    found = number_in(shown)
    return "" if found is None else f"{found:.12g}"
