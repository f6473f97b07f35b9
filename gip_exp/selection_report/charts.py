"""Small charts as inline SVG, in the colours of the page."""

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape

from gip_exp.selection_report.numbers import Curve

WIDTH, HEIGHT = 320, 180
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 8, 26  # margins around the plotting area


def _x(share: float) -> float:
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _y(share: float) -> float:
    return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP), 1)


def _frame(label: str, parts: Sequence[str]) -> Markup:
    body = "".join(parts)
    return Markup(  # nosec - every part is a number or escaped
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{body}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _digits(span: float) -> int:
    """Return how many decimals tell the ends and the middle of a span apart; at most 4, for the margin."""
    return min(4, max(0, math.ceil(0.7 - math.log10(span / 2))))


def line_chart(curve: Curve, marked: int) -> Markup:
    """Draw a measure of the first c ranked rows, and of random rows, against c on a logarithmic axis.

    Args:
        curve: The measure.
        marked: The chosen number of rows, drawn as a vertical line.
    """
    values = [value for value in (*curve.ranked, *curve.random) if not np.isnan(value)] or [0.0]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    logs = np.log(curve.counts)
    width = (logs[-1] - logs[0]) or 1.0

    def points(of: Sequence[float]) -> str:
        known = [(c, v) for c, v in zip(logs, of, strict=True) if not np.isnan(v)]
        return " ".join(f"{_x((c - logs[0]) / width)},{_y((v - low) / span)}" for c, v in known)

    at = _x(float((np.log(min(marked, curve.counts[-1])) - logs[0]) / width))
    ticks = [curve.counts[0], curve.counts[len(curve.counts) // 2], curve.counts[-1]]
    parts = [
        *(_text(LEFT - 5, _y(s) + 3, f"{low + s * span:,.{_digits(span)}f}", "end") for s in (0.0, 0.5, 1.0)),
        *(
            _text(_x(float((np.log(t) - logs[0]) / width)), HEIGHT - 10, f"{t:,}", anchor)
            for t, anchor in zip(ticks, ("start", "middle", "end"), strict=True)
        ),
        *(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_y(s)}" y2="{_y(s)}"/>'
            for s in (0.0, 0.5, 1.0)
        ),
        f'<line class="chosen" x1="{at}" x2="{at}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>',
        f'<polyline class="random" points="{points(curve.random)}"/>',
        f'<polyline class="subset" points="{points(curve.ranked)}"/>',
    ]
    return _frame(f"{curve.name} against the number of rows, {marked} chosen", parts)


def histogram(name: str, pool: np.ndarray, subset: np.ndarray, bins: int = 24) -> Markup:
    """Draw the shares of rows by length, on a logarithmic axis: the subset as bars, the pool as a line."""
    edges = np.geomspace(1, max(2, int(pool.max(initial=1)) + 1), bins + 1)
    shares = [np.histogram(np.maximum(part, 1), edges)[0] / max(1, len(part)) for part in (subset, pool)]
    high = max(float(part.max()) for part in shares) or 1.0
    bars = [
        f'<rect class="bar" x="{_x(i / bins)}" y="{_y(s / high)}" width="{round((WIDTH - LEFT - RIGHT) / bins - 1, 1)}"'
        f' height="{round(_y(0) - _y(s / high), 1)}"/>'
        for i, s in enumerate(shares[0])
    ]
    steps = " ".join(
        f"{_x(i / bins)},{_y(s / high)} {_x((i + 1) / bins)},{_y(s / high)}" for i, s in enumerate(shares[1])
    )
    ticks = [10**power for power in range(len(str(int(edges[-1]))))]
    labels = [
        _text(_x(float(np.log(t) / np.log(edges[-1]))), HEIGHT - 10, f"{t:,}") for t in ticks if t < edges[-1]
    ]
    axis = [_text(LEFT - 5, _y(s) + 3, f"{100 * s * high:.2g} %", "end") for s in (0.0, 0.5, 1.0)]
    return _frame(
        f"{name}: distribution of lengths in subset and pool",
        [*axis, *labels, *bars, f'<polyline class="pool" points="{steps}"/>'],
    )
