"""The report as a LaTeX document: landscape, longtable with booktabs, figures as PDF.

Run `pdflatex report.tex` in the report's folder. Tables can be copied into other documents unchanged.
"""

import re

from gip_exp.report.document import Column, Document, Figure, Table

PREAMBLE = r"""\documentclass[10pt]{article}
\usepackage[a4paper,landscape,margin=15mm]{geometry}
\usepackage[T1]{fontenc}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage{booktabs,longtable,array,graphicx}
\usepackage[hidelinks]{hyperref}
\setlength{\tabcolsep}{4pt}
\setlength{\parindent}{0pt}
\setlength{\parskip}{5pt}
\begin{document}
"""
SYMBOLS = {
    "\\": r"\textbackslash{}",
    **{character: "\\" + character for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\u00a0": "~",
    "\n": " ",  # an empty line would end the paragraph, and with it the table
    "−": "$-$",
    "–": "--",
    "·": r"\textperiodcentered{}",
    "√": r"$\surd$",
    "<": "$<$",
    ">": "$>$",
    "*": "$*$",
    "’": "'",
}
WIDE = 70  # mm, width of a column of running text; others are as wide as their content


def render(document: Document) -> str:
    """Return the document as text."""
    lines = [PREAMBLE, rf"\section*{{{escape(document.title)}}}"]
    lines += [rf"{escape(line)}\par" for line in document.summary]
    for section in document.sections:
        lines += ["", rf"\section*{{{escape(section.title)}}}"]
        lines += [escape(paragraph) + r"\par" for paragraph in section.paragraphs]
        for part in section.parts:
            lines += ["", *(table(part) if isinstance(part, Table) else _figure(part))]
    return "\n".join([*lines, r"\end{document}", ""])


def escape(text: str) -> str:
    """Return text as LaTeX: special characters by their commands, characters pdflatex lacks as question marks."""
    kept = re.sub(r"(\d) %", "\\1\u00a0%", text)  # a number and its percent sign stay on one line
    return "".join(SYMBOLS.get(c, c if " " <= c < "\u0100" else "?") for c in kept)


def table(of: Table) -> list[str]:
    """Return a longtable: caption, group headings, header repeated on every page, notes below."""
    head = [*_groups(of), _line([escape(column.name) for column in of.columns]), r"\midrule"]
    columns = "".join(_column(column) for column in of.columns)
    lines = [
        r"{\footnotesize",
        rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}",
        rf"\caption{{{escape(of.title)}}}\label{{tab:{of.slug}}}\\",
        r"\toprule",
        *head,
        r"\endfirsthead",
        r"\toprule",
        *head,
        r"\endhead",
        r"\bottomrule",
        r"\endlastfoot",
    ]
    for i, row in enumerate(of.rows):
        lines += [r"\addlinespace[2pt]"] if i in of.ruled else []
        lines.append(_line([escape(cell) for cell in row]))
    return [*lines, r"\end{longtable}", *(rf"{escape(note)}\par" for note in of.notes), "}"]


def _column(column: Column) -> str:
    if column.wide:
        return rf">{{\raggedright\arraybackslash}}p{{{WIDE}mm}}"
    return "r" if column.align == "right" else "l"


def _groups(of: Table) -> list[str]:
    """Return the line of headings that neighbouring columns share, with rules under them; nothing without groups."""
    cells, rules, start = [], [], 1
    for name, width in of.groups:
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(name)}}}" if name else " & ".join([""] * width))
        rules += [rf"\cmidrule(lr){{{start}-{start + width - 1}}}"] if name else []
        start += width
    return [" & ".join(cells) + r" \\", "".join(rules)] if cells else []


def _line(cells: list[str]) -> str:
    if cells and cells[0].startswith("["):
        cells = [
            "{}" + cells[0],
            *cells[1:],
        ]  # else LaTeX takes it as the optional argument of the \\\\ before
    return " & ".join(cells) + r" \\"


def _figure(figure: Figure) -> list[str]:
    return [
        r"\begin{figure}[htbp]\centering",
        rf"\includegraphics{{figures/{figure.slug}.pdf}}",
        rf"\caption{{{escape(figure.caption)}}}\label{{fig:{figure.slug}}}",
        r"\end{figure}",
    ]
