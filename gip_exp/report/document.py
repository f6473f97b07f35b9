"""The report as data: sections of text, tables and figures. Writers turn it into Markdown, LaTeX and HTML."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Column:
    """`align` is `left` or `right`; `group` names a heading that neighbours share; `wide`: running text."""

    name: str
    align: str = "right"
    group: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Table:
    """Cells are plain text. `ruled` lists the rows before which a thin line separates blocks."""

    slug: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    ruled: tuple[int, ...] = ()
    folded: bool = False  # long evidence: a page shows it on demand


@dataclass(frozen=True)
class Figure:
    """A picture in `figures/<slug>.svg` and `.pdf`, with what it shows in words."""

    slug: str
    caption: str
    svg: str = field(repr=False, default="")


@dataclass(frozen=True)
class Section:
    title: str
    paragraphs: tuple[str, ...] = ()
    parts: tuple["Table | Figure", ...] = ()


@dataclass(frozen=True)
class Document:
    title: str
    summary: tuple[str, ...]  # one line each, on top
    sections: tuple[Section, ...]
