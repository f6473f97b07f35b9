"""A results folder from somebody else: its names and texts stay text in every notation, and name no file outside it."""

import csv
import io
import json
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from report_runs import GSM8K, write_run
from rich.console import Console

from gip_exp.errors import UserError
from gip_exp.pages import SORTING
from gip_exp.report import html, latex, markdown
from gip_exp.report.document import Column, Document, Figure, Section, Table
from gip_exp.report.write import write_report

ATTACK = "--><script>alert(1)</script>\"' onload=x $\\frac$ \\input{/etc/passwd} [red]r[/red] \x1b[2J\x00 ![i](http://e/) `c`"
FORMULA = "=cmd|' /C calc'!A0"
HARMLESS = {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "ul", "li", "nav", "a", "section", "p",
            "div", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "span", "figure", "figcaption", "code",
            "img", "svg", "g", "defs", "path", "use", "rect", "clippath", "lineargradient", "image", "br",
            "tfoot", "script"}  # fmt: skip


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.handlers, self.links, self.scripts = set(), [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.handlers += [name for name, _ in attributes if name.startswith("on")]
        self.links += [value for name, value in attributes if name in ("href", "src", "xlink:href")]

    def handle_data(self, data):
        if self.lasttag == "script" and data.strip():
            self.scripts.append(data.strip())


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("hostile")
    for seed in range(2):
        write_run(root, name=f"a{seed}", seed=seed, model=ATTACK, settings={"x": {ATTACK: f"{ATTACK}{seed}"}})
        write_run(root, "random", name=f"r{seed}", seed=seed, model=ATTACK, seconds={ATTACK: 1.0})
        write_run(root, "odd", name=f"o{seed}", seed=seed, model=ATTACK)
        file = root / "toy" / f"o{seed}" / "result.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"selector": FORMULA}))
    write_run(root, name="failed", model=ATTACK, seed=7, status="failed", error=ATTACK)
    screen = io.StringIO()
    return write_report(root, root / "report", Console(file=screen, width=500)).folder, screen.getvalue()


def test_the_page_holds_no_foreign_tag_handler_or_link(report):
    page = Tags()
    page.feed((report[0] / "report.html").read_text())
    for svg in (report[0] / "figures").glob("*.svg"):
        page.feed(svg.read_text())
    assert page.tags <= HARMLESS | {
        "metadata",
        "rdf:rdf",
        "cc:work",
        "dc:type",
        "dc:format",
        "dc:creator",
        "cc:agent",
        "dc:title",
    }
    assert page.handlers == []
    files = [link for link in page.links if not link.startswith(("#", "data:image/"))]
    root = report[0].parent.resolve()
    assert len(files) == 7  # result.json of every run
    assert all((report[0] / unquote(file)).resolve().is_relative_to(root / "toy") for file in files)
    assert page.scripts == [SORTING.read_text().strip()]


def test_no_notation_takes_commands_from_names(report):
    folder, screen = report
    tex, md = (folder / "report.tex").read_text(), (folder / "report.md").read_text()
    assert r"\textbackslash{}input\{/etc/passwd\}" in tex
    assert r"\input" not in tex
    assert re.search(r"(?<!\\)<script", md) is None
    assert "![i](http" not in md
    assert "[red]r[/red]" in screen
    for text in (tex, md, screen, (folder / "report.html").read_text(), (folder / "report.csv").read_text()):
        assert not any(sign in text for sign in "\x1b\x00")


def test_no_cell_of_the_table_is_a_formula(report):
    rows = list(csv.DictReader(io.StringIO((report[0] / "report.csv").read_text())))
    assert f"'{FORMULA}" in {row["selector"] for row in rows}
    texts = ("experiment", "model", "setup", "metric", "method", "selector", "variant")
    assert not any(row[name].startswith(("=", "+", "-", "@", "\t")) for row in rows for name in texts)


def test_a_cell_cannot_end_its_row_or_its_table():
    table = Table(
        "t", "T", (Column("a", "left"), Column("b", "left")), (("[2cm] x", "a\n\nb"), ("\\<script>", "x](y)"))
    )
    tex, md = latex.table(table), markdown.table(table)
    assert r"{}[2cm] x & a  b \\" in tex  # neither space after the row before, nor a paragraph within
    assert r"\\\<script>" in md[-1]  # the backslash too, else it would free the tag
    assert r"x]\(y)" in md[-1]
    page = html.render(Document("d", (), (Section("s", (), (table, Figure("f", ATTACK, f"<svg>{ATTACK}"))),)))
    assert '<td class="left">\\&lt;script&gt;</td>' in page
    assert page.count("<script") == 1  # the page's own


@pytest.mark.parametrize(
    "name", ["../../secret", "/etc/passwd", "a/../../b", "a\x00b", ".", "<b>", "x" * 5 + "/"]
)
def test_a_metric_cannot_name_a_file_elsewhere(tmp_path, name):
    folder = write_run(tmp_path)
    file = folder / "result.json"
    content = json.loads(file.read_text())
    content["metrics"] = {name: content["metrics"][GSM8K]}
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="which is not a metric name"):
        write_report(tmp_path, tmp_path / "report", Console(file=io.StringIO()))
    assert not (tmp_path / "report").exists()
