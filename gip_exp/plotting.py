"""Style and file formats of all figures. Matplotlib's global settings are not changed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

PANEL = 3.3  # width in inches: a column of a two-column paper
INK, FAINT = "#222222", "#8A8A8A"
_SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.6,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "pdf.fonttype": 42,  # keep text as text in PDF
    "text.parse_math": False,  # dollar signs in names are literal
    "svg.fonttype": "path",  # independent of installed fonts
    "figure.constrained_layout.use": True,
}


@contextmanager
def styled() -> Iterator[None]:
    """Apply the style to figures made in the block."""
    import logging

    finder = logging.getLogger("matplotlib.font_manager")
    level = finder.level
    finder.setLevel(logging.ERROR)  # no warning if a font is missing: the next of the list is used
    try:
        with mpl.rc_context(_SETTINGS):  # type: ignore[arg-type]
            yield
    finally:
        finder.setLevel(level)


def save(figure: Figure, folder: Path, slug: str, pdf: bool = True) -> str:
    """Write `<slug>.svg` and, with `pdf`, `<slug>.pdf`, reproducibly; return the SVG text."""
    folder.mkdir(parents=True, exist_ok=True)
    with styled(), mpl.rc_context({"svg.hashsalt": slug}):
        if pdf:
            figure.savefig(folder / f"{slug}.pdf", metadata={"CreationDate": None})
        figure.savefig(folder / f"{slug}.svg", metadata={"Date": None})
    return (folder / f"{slug}.svg").read_text(encoding="utf-8")


def grid(axes: Axes, axis: str) -> None:
    """Draw thin grid lines behind the data, along one axis."""
    axes.grid(True, axis=axis, color="#E3E3E3", linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def legend_below(figure: Figure, entries: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Draw one legend below all panels.

    Args:
        figure: The figure.
        entries: Label and line style of each entry, in order.
    """
    handles = [Line2D([], [], label=label, **style) for label, style in entries]
    widest = max((len(label) for label, _ in entries), default=1)
    per_row = max(1, int(figure.get_size_inches()[0] / (0.075 * widest + 0.55)))
    columns = -(-len(handles) // max(1, -(-len(handles) // per_row)))  # rows of equal length
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, columnspacing=1.4)
