"""The result of an ablation: tables of numbers and figures, and writing and printing them."""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Drawing
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as RichTable

from gip_exp.plotting import save
from gip_exp.report import markdown
from gip_exp.report.document import Column, Document, Figure, Section, Table
from gip_exp.report.text import NONE
from gip_exp.storage.files import write_text

FIGURES = "figures"


@dataclass(frozen=True)
class Field:
    """A column of a sheet.

    Attributes:
        key: its key in the rows.
        heading: its heading.
        digits: digits after the decimal point; None for text and counts.
    """

    key: str
    heading: str
    digits: int | None = None

    @property
    def left(self) -> bool:
        """Whether the column is aligned left."""
        return self.digits is None


@dataclass(frozen=True)
class Sheet:
    """A table of numbers; a missing field or NaN means that there is no such number."""

    slug: str
    title: str
    fields: tuple[Field, ...]
    rows: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure with its file name and caption."""

    slug: str
    caption: str
    drawing: Drawing


@dataclass(frozen=True)
class Findings:
    """Everything an ablation found."""

    title: str
    sheets: tuple[Sheet, ...]
    pictures: tuple[Picture, ...]


def write(findings: Findings, folder: Path, name: str) -> None:
    """Write `<name>.md`, one CSV per table and, below figures/, one SVG and PDF per figure."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = []
    for picture in findings.pictures:
        save(picture.drawing, folder / FIGURES, picture.slug)
        figures.append(Figure(picture.slug, picture.caption))
    tables = [as_table(sheet) for sheet in findings.sheets]
    sections = (Section("Tables", (), tuple(tables)), Section("Figures", (), tuple(figures)))
    write_text(folder / f"{name}.md", markdown.render(Document(findings.title, (), sections)))
    for sheet in findings.sheets:
        write_text(folder / f"{sheet.slug}.csv", as_csv(sheet))


def as_table(sheet: Sheet) -> Table:
    """Return the sheet as a table of the report, numbers rounded to the digits of their field."""
    columns = tuple(Column(field.heading, "left" if field.left else "right") for field in sheet.fields)
    rows = tuple(tuple(_text(row.get(field.key), field) for field in sheet.fields) for row in sheet.rows)
    return Table(sheet.slug, sheet.title, columns, rows, sheet.notes)


def as_csv(sheet: Sheet) -> str:
    """Return CSV with the keys of the fields as header, numbers unrounded; an empty field means no such number."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([field.key for field in sheet.fields])
    writer.writerows([_raw(row.get(field.key)) for field in sheet.fields] for row in sheet.rows)
    return stream.getvalue()


def as_rich(sheet: Sheet) -> RichTable:
    """Return the sheet as a table for the terminal."""
    table = as_table(sheet)
    shown = RichTable(
        title=table.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False
    )
    for column in table.columns:
        shown.add_column(column.name, justify="right" if column.align == "right" else "left", no_wrap=True)
    for row in table.rows:
        shown.add_row(*map(escape, row))
    return shown


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(value: Any, field: Field) -> str:
    if _absent(value):
        return NONE
    if field.digits is None:
        return f"{value:g}" if isinstance(value, float) else str(value)
    return f"{value:.{field.digits}f}".replace("-", "−")


def _raw(value: Any) -> Any:
    return "" if _absent(value) else value
