"""Numbers as text, the same in every output: percent with one decimal, other outcomes with three."""

import math
import re

NONE = "–"


def value(number: float, proportion: bool) -> str:
    """Return a mean: `39.4` (percent) or `0.501`."""
    if math.isnan(number):
        return NONE
    return f"{100 * number:.1f}" if proportion else f"{number:.3f}"


def signed(number: float, proportion: bool) -> str:
    """Return a difference, with a true minus sign."""
    if math.isnan(number):
        return NONE
    text = value(abs(number), proportion)
    if not text.strip("0."):
        return text
    return ("+" if number > 0 else "−") + text


def interval(low: float, high: float, proportion: bool, *, sign: bool = False) -> str:
    """Return `30.1 to 48.2`, or a dash if there is no interval."""
    if math.isnan(low) or math.isnan(high):
        return NONE
    show = signed if sign else value
    return f"{show(low, proportion)} to {show(high, proportion)}"


def p_value(p: float) -> str:
    """Return a p-value with three decimals and no leading zero; `< .001` below that."""
    if math.isnan(p):
        return NONE
    return "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0") if p < 0.9995 else "1"


def seconds(number: float) -> str:
    """Return a duration: `0.3 s`, `41 s`, `12 min`, `3.4 h`."""
    if number < 10:
        return f"{number:.1f} s"
    if number < 120:
        return f"{number:.0f} s"
    if number < 7200:
        return f"{number / 60:.0f} min"
    return f"{number / 3600:.1f} h"


def number_in(shown: str) -> float | None:
    """Return what a text of this module says, for sorting: per cent before counts, durations in seconds; None for no number.

    Example:
        >>> [number_in(shown) for shown in ("500 (5 %)", "−1.9", "30.1 to 48.2", "< .001", "1,872", "12 min", "–")]
        [5.0, -1.9, 30.1, 0.001, 1872.0, 720.0, None]
    """
    number = r"[+−-]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:e[+-]\d+)?"
    found = re.search(rf"({number}) %", shown) or re.match(rf"(?:< )?({number})(?: (min|h)\b)?", shown)
    if found is None:
        return None
    seconds = {"min": 60, "h": 3600}.get(found[2] or "", 1) if found.re.groups > 1 else 1
    return float(found[1].replace(",", "").replace("−", "-")) * seconds


def count(number: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun: `1 seed`, `3 seeds`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def slugged(name: str) -> str:
    """Return letters, digits and single dashes, safe in a file name, an HTML id and a LaTeX label."""
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
    return "-".join(part for part in kept.split("-") if part)
