"""The report as one HTML page that needs nothing else: figures inlined as SVG, no scripts, no network."""

import re
from collections.abc import Sequence
from html import escape
from itertools import groupby

from gip_exp.report.document import Column, Document, Figure, Section, Table
from gip_exp.report.tables import slugged

CSS = """
:root{--ink:#1d1d1b;--faint:#6a6a66;--line:#d9d7d0;--paper:#fffefb;--tint:#f5f3ec}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--paper);color:var(--ink);
 font:17px/1.55 Charter,"Bitstream Charter","Iowan Old Style",Cambria,Georgia,serif}
main{max-width:80rem;margin:0 auto;padding:2.5rem 1.25rem 5rem}
h1{font-size:2rem;line-height:1.2;margin:0 0 .75rem;letter-spacing:-.01em}
h2{font-size:1.35rem;line-height:1.3;margin:3.25rem 0 .75rem;padding-top:.9rem;border-top:1px solid
var(--line)} p,ul{max-width:44rem} p{margin:.6rem 0} ul.summary{padding-left:1.1rem;margin:.6rem
0;overflow-wrap:anywhere} a{color:#00508a;text-underline-offset:.15em}
nav,table,figcaption,.note,summary,.badge{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Liberation
Sans",sans-serif} nav{font-size:.85rem;display:flex;flex-wrap:wrap;gap:.35rem 1.1rem;margin:1.25rem 0 0}
figure{margin:1.75rem 0 2.25rem}
figcaption,.note{font-size:.82rem;line-height:1.45;color:var(--faint);max-width:46rem;margin:.5rem 0 0}
.scroll{overflow-x:auto;-webkit-overflow-scrolling:touch} .scroll
svg{display:block;height:auto;max-width:100%} .block{margin:1.75rem 0 2.25rem}
table{border-collapse:collapse;font-size:.82rem;line-height:1.35;font-variant-numeric:tabular-nums
lining-nums} caption{text-align:left;font-weight:650;font-size:.9rem;padding:0 0 .5rem;white-space:nowrap}
th,td{padding:.28rem .6rem;text-align:right;vertical-align:top;white-space:nowrap}
th:first-child,td:first-child{padding-left:0} th{font-weight:600;color:var(--faint);vertical-align:bottom}
thead tr:last-child th{border-bottom:1.5px solid var(--ink)} thead
th.group{text-align:center;border-bottom:1px solid var(--line);color:var(--ink)} tbody tr:last-child
td{border-bottom:1.5px solid var(--ink)} tbody tr.rule td{border-top:1px solid var(--line)}
.left{text-align:left} td.wide{white-space:normal;min-width:13rem;max-width:24rem}
td:first-child,th:first-child{position:sticky;left:0;background:var(--paper)}
.badge{display:inline-block;padding:.05rem .5rem;border-radius:1rem;font-weight:600;background:var(--tint)}
.holds{background:#d3ebe0;color:#00533a}.fails{background:#f7d9c9;color:#7d2f00}
.undecided{background:#fbeecb;color:#5f4400}.not-run{color:var(--faint)}
summary{cursor:pointer;font-size:.9rem;font-weight:600;margin:1rem 0} @media
(max-width:40rem){body{font-size:16px}main{padding:1.5rem 1rem 4rem}h1{font-size:1.6rem} .scroll
svg{max-width:none}td:first-child,th:first-child{max-width:9.5rem;white-space:normal}
td.wide{min-width:11rem}caption{white-space:normal}} @media print{.scroll{overflow:visible}nav{display:none}}
"""
VERDICTS = ("holds", "fails", "undecided", "not run")


def render(document: Document) -> str:
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
    """A table that scrolls sideways on a narrow screen, its first column staying; folded ones open on demand."""
    caption = "" if of.folded else f"<caption>{escape(of.title)}</caption>"
    rows = "\n".join(_row(row, of.columns, i in of.ruled) for i, row in enumerate(of.rows))
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in of.notes)
    body = f"<table>{caption}<thead>{_head(of.columns)}</thead>\n<tbody>\n{rows}\n</tbody></table>"
    block = f'<div class="block" id="table-{of.slug}"><div class="scroll">{body}</div>{notes}</div>'
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
    """The <svg> element alone, with ids that no other figure on the page has, and a label for screen readers."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{slug}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{slug}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{slug}-\1)", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1).strip()
