"""The report as Markdown (GitHub's tables, images by relative path)."""

import re

from gip_exp.report.document import Column, Document, Figure, Table


def render(document: Document) -> str:
    """Return the document as text."""
    lines = [f"# {_safe(document.title)}", "", *[f"- {_safe(line)}" for line in document.summary], ""]
    for section in document.sections:
        lines += [f"## {_safe(section.title)}", ""]
        for paragraph in section.paragraphs:
            lines += [_safe(paragraph), ""]
        for part in section.parts:
            lines += [*(table(part) if isinstance(part, Table) else _figure(part)), ""]
    return "\n".join(lines).rstrip() + "\n"


def table(of: Table) -> list[str]:
    """Return title, header with alignments, rows padded to equal width, and notes."""
    header = [_heading(column) for column in of.columns]
    cells = [[_cell(of, i, j) for j in range(len(row))] for i, row in enumerate(of.rows)]
    widths = [max(3, *(len(row[i]) for row in [header, *cells])) for i in range(len(header))]
    rule = [
        "-" * (w - 1) + ":" if c.align == "right" else "-" * w
        for c, w in zip(of.columns, widths, strict=True)
    ]
    lines = [f"**{_safe(of.title)}**", "", _line(header, widths, of), "| " + " | ".join(rule) + " |"]
    lines += [_line(row, widths, of) for row in cells]
    return lines + ([""] + [f"*{_safe(note)}*  " for note in of.notes] if of.notes else [])


def _cell(of: Table, row: int, column: int) -> str:
    text = _safe(of.rows[row][column])
    return f"[{text}]({of.links[row, column]})" if (row, column) in of.links else text


def _line(cells: list[str], widths: list[int], of: Table) -> str:
    padded = [
        cell.rjust(width) if column.align == "right" else cell.ljust(width)
        for cell, width, column in zip(cells, widths, of.columns, strict=True)
    ]
    return "| " + " | ".join(padded) + " |"


def _heading(column: Column) -> str:
    return _safe(f"{column.group}: {column.name}" if column.group else column.name)


def _figure(figure: Figure) -> list[str]:
    caption = _safe(figure.caption)
    return [f"![{caption}](figures/{figure.slug}.svg)", "", f"*{caption}*"]


def _safe(text: str) -> str:
    """Escape text, so that it cannot form a table cell, emphasis, code, HTML, an image or a link."""
    return re.sub(r"[\\|*`]|<(?=[A-Za-z/!?])|(?<=!)\[|(?<=\])[(\[]", r"\\\g<0>", text).replace("\n", " ")
