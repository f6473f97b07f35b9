"""Marks of methods and their variants, the same in every figure, on top of the style in `gip_exp.plotting`."""

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.figure import Figure

from gip_exp.plotting import legend_below
from gip_exp.report.names import FULL, Look, look
from gip_exp.report.study import Arm

VARIANT_LINES, VARIANT_MARKERS = ("--", ":", "-."), "Dv^sP"


def mark(of: Look) -> dict[str, Any]:
    """Return keyword arguments for the line and markers of a method."""
    hollow = of.marker in "x_+1234"
    return {
        "color": of.colour,
        "marker": of.marker,
        "linestyle": of.line,
        "markeredgecolor": of.colour if hollow else "white",
        "markeredgewidth": 1.3 if hollow else 0.5,
    }


def mark_arm(arm: Arm, arms: Iterable[Arm]) -> dict[str, Any]:
    """Return the marks of an arm among `arms`: the colour of its method; further variants hollow, with other lines."""
    variants = sorted((one for one in arms if one.method == arm.method), key=lambda one: one.order)
    style = mark(look(arm.method))
    place = variants.index(arm)
    if place:
        style |= {
            "linestyle": VARIANT_LINES[(place - 1) % len(VARIANT_LINES)],
            "marker": VARIANT_MARKERS[(place - 1) % len(VARIANT_MARKERS)],
            "markerfacecolor": "white",
            "markeredgecolor": style["color"],
            "markeredgewidth": 1.2,
        }
    return style


def legend_of(figure: Figure, arms: Sequence[Arm], *, solid: bool = False) -> None:
    """Add a legend of arms below all panels; `solid` draws marks without lines."""
    entries = []
    for arm in arms:
        style = mark_arm(arm, arms)
        if solid:
            style |= {"linestyle": "none", "marker": "o" if arm.method == FULL else style["marker"]}
        entries.append((arm.label, style))
    legend_below(figure, entries)
