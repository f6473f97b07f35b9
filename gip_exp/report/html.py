"""The report as one self-contained HTML page: figures inlined as SVG, no scripts, no network."""

import re
from collections.abc import Sequence
from html import escape as html_escape
from itertools import groupby

from gip_exp.report.document import Column, Document, Figure, Section, Table
from gip_exp.report.page_style import CSS
from gip_exp.report.text import slugged

VERDICTS = ("holds", "fails", "undecided", "not run")


def escape(text: str) -> str:
    """Return text as HTML; a number and its percent sign stay on one line."""
    return re.sub(r"(\d) %", "\\1\u00a0%", html_escape(text))


def render(document: Document) -> str:
    """Return the page as text."""
    links = "".join(f'<a href="#{slugged(s.title)}">{escape(s.title)}</a>' for s in document.sections)
    summary = "".join(f"<li>{escape(line)}</li>" for line in document.summary)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(document.title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{escape(document.title)}</h1>\n<ul class="summary">{summary}</ul>\n<nav>{links}</nav>\n'
        + "\n".join(_section(section) for section in document.sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def _section(section: Section) -> str:
    paragraphs = "".join(f"<p>{escape(paragraph)}</p>\n" for paragraph in section.paragraphs)
    parts = "\n".join(table(part) if isinstance(part, Table) else _figure(part) for part in section.parts)
    title = f'<h2 id="{slugged(section.title)}">{escape(section.title)}</h2>\n'
    return f"<section>\n{title}{paragraphs}{parts}\n</section>"


def table(of: Table) -> str:
    """Return a table that scrolls sideways with its first column fixed; folded ones open on demand."""
    rows = "\n".join(_row(row, of.columns, i in of.ruled) for i, row in enumerate(of.rows))
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in of.notes)
    body = f"<table><thead>{_head(of.columns)}</thead>\n<tbody>\n{rows}\n</tbody></table>"
    title = "" if of.folded else f"<h3>{escape(of.title)}</h3>"
    block = f'<div class="block" id="table-{of.slug}">{title}<div class="scroll">{body}</div>{notes}</div>'
    if not of.folded:
        return block
    return f"<details><summary>{escape(of.title)} ({len(of.rows)})</summary>{block}</details>"


def _head(columns: Sequence[Column]) -> str:
    names = "".join(f"<th{_class(column)}>{escape(column.name)}</th>" for column in columns)
    if not any(column.group for column in columns):
        return f"<tr>{names}</tr>"
    groups = ""
    for name, members in groupby(columns, key=lambda column: column.group):
        kind = ' class="group"' if name else ""
        groups += f'<th colspan="{len(list(members))}"{kind}>{escape(name)}</th>'
    return f"<tr>{groups}</tr><tr>{names}</tr>"


def _row(row: Sequence[str], columns: Sequence[Column], ruled: bool) -> str:
    cells = "".join(f"<td{_class(c)}>{_cell(cell, c)}</td>" for cell, c in zip(row, columns, strict=True))
    return f'<tr class="rule">{cells}</tr>' if ruled else f"<tr>{cells}</tr>"


def _cell(text: str, column: Column) -> str:
    if column.name == "verdict" and text in VERDICTS:
        return f'<span class="badge {text.replace(" ", "-")}">{text}</span>'
    return escape(text)


def _class(column: Column) -> str:
    kinds = (["left"] if column.align == "left" else []) + (["wide"] if column.wide else [])
    return f' class="{" ".join(kinds)}"' if kinds else ""


def _figure(figure: Figure) -> str:
    svg = inline(figure.svg, figure.slug, figure.caption)
    caption = f"<figcaption>{escape(figure.caption)}</figcaption>"
    return f'<figure id="figure-{figure.slug}"><div class="scroll">{svg}</div>{caption}</figure>'


def inline(svg: str, slug: str, label: str) -> str:
    """Return the <svg> element alone, with unique ids and a label for screen readers."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{slug}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{slug}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{slug}-\1)", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1).strip()
