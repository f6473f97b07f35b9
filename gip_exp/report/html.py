"""The report as one self-contained HTML page: figures inlined as SVG, no scripts, no network."""

import re
from base64 import b64encode
from pathlib import Path

from gip_exp.pages import environment
from gip_exp.report.document import Document
from gip_exp.report.text import slugged


def render(document: Document) -> str:
    """Return the page as text."""
    templates = environment(Path(__file__).parent)
    templates.filters["slugged"] = slugged
    templates.filters["base64"] = lambda svg: b64encode(svg.encode()).decode()
    page = templates.get_template("page.html").render(document=document)
    return re.sub(r"(\d) %", "\\1\u00a0%", page)  # a number and its percent sign stay on one line
