"""The report as data: sections of text, tables and figures. Writers turn it into Markdown, LaTeX and HTML."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading.
        align: `left` or `right`.
        group: a heading that it shares with its neighbours.
        wide: whether it holds running text.
    """

    name: str
    align: str = "right"
    group: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Table:
    """A table of plain text.

    Attributes:
        slug: name for files and anchors.
        title: its caption.
        columns: the columns.
        rows: one text per column.
        notes: lines below the table.
        ruled: rows before which a thin line separates blocks.
        folded: whether a page shows it on demand only (long evidence).
        total: whether the last row is the sum of the others.
        links: relative addresses of cells, by (row, column).
    """

    slug: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    ruled: tuple[int, ...] = ()
    folded: bool = False
    total: bool = False
    links: Mapping[tuple[int, int], str] = field(default_factory=dict)

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Heading and number of columns of each run of columns with one heading; [] if no column has one."""
        runs = [(name, len(list(run))) for name, run in groupby(column.group for column in self.columns)]
        return runs if any(name for name, _ in runs) else []


@dataclass(frozen=True)
class Figure:
    """A figure in `figures/<slug>.svg` and `.pdf`, with a caption."""

    slug: str
    caption: str
    svg: str = field(repr=False, default="")


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, then tables and figures."""

    title: str
    paragraphs: tuple[str, ...] = ()
    parts: tuple["Table | Figure", ...] = ()


@dataclass(frozen=True)
class Document:
    """The whole report: title, summary lines and sections."""

    title: str
    summary: tuple[str, ...]
    sections: tuple[Section, ...]
