"""Scores out of a reply, however the model wrapped them; a reason where there are none.

Read in this order: the reply as JSON; the last complete {...} in it (after thinking, inside code fences),
mended for trailing commas, single quotes and Python's literals; last, lines such as "Clarity: 4/5". An
answer counts only when every attribute has one number within the scale: nothing is guessed or filled in.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gip_exp.llm.errors import shorten

_THINKING = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_NUMBER = re.compile(r"^\s*([-+]?\d+(?:\.\d+)?)\s*(?:(?:/|out of)\s*(\d+))?\s*$", re.IGNORECASE)
_LONGEST = 200_000  # characters looked at; a longer reply is a runaway


@dataclass(frozen=True)
class Parsed:
    """scores: one float per attribute in the order asked for, or None; then `reason` says why."""

    scores: tuple[float, ...] | None
    reason: str = ""


def parse_scores(text: str, attributes: Sequence[str], lowest: float = 1, highest: float = 5) -> Parsed:
    """Return the scores in `text` for `attributes`, each within [lowest, highest]."""
    visible = _THINKING.sub("", text[:_LONGEST])
    if not visible.strip():
        return Parsed(None, "the reply is empty")
    reason = f"no JSON object in {shorten(visible, 120)!r}"
    # The last object wins: models that think aloud, or repeat the form first, answer at the end.
    for candidate in reversed(list(json_objects(visible))):
        parsed = _read_object(candidate, attributes, lowest, highest)
        if parsed.scores is not None:
            return parsed
        reason = parsed.reason
    lines = _read_lines(visible, attributes, highest)
    if lines:
        parsed = _read_object(lines, attributes, lowest, highest)
        if parsed.scores is not None:
            return parsed
    return Parsed(None, reason)


def json_objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the outermost JSON objects in `text`, in order; what cannot be mended is left out."""
    for start, end in _spans(text):
        value = _loads(text[start:end])
        if isinstance(value, dict):
            yield value


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of balanced {...}, braces within double-quoted strings not counted.

    Linear in the text: a "{" that is never closed gives up its place to the braces after it.
    """
    opened: list[int] = []
    closed: list[tuple[int, int]] = []
    quoted = escaped = False
    for i, char in enumerate(text):
        if quoted:
            quoted = char != '"' or escaped
            if char == "\n":
                quoted = False  # JSON strings do not run over lines: this quote was prose
            escaped = char == "\\" and not escaped
        elif char == '"' and opened:
            quoted, escaped = True, False
        elif char == "{":
            opened.append(i)
        elif char == "}" and opened:
            start = opened.pop()
            while closed and closed[-1][0] > start:
                closed.pop()  # inner objects belong to this one
            closed.append((start, i + 1))
    yield from closed


def _loads(text: str) -> object:
    mended = re.sub(r",\s*([}\]])", r"\1", text)
    straight = mended.translate({0x201C: '"', 0x201D: '"', 0x2018: "'", 0x2019: "'"})
    for candidate in (text, mended, straight):
        try:
            return json.loads(candidate)
        except (ValueError, RecursionError):
            continue
    try:
        return ast.literal_eval(straight)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def _read_object(value: dict[str, Any], attributes: Sequence[str], lowest: float, highest: float) -> Parsed:
    found = {_plain(k): v for k, v in value.items()}
    inner = [v for v in value.values() if isinstance(v, dict)]
    if len(inner) == 1 and not any(_plain(a) in found for a in attributes):
        found = {_plain(k): v for k, v in inner[0].items()}  # {"scores": {...}}
    missing = [a for a in attributes if _plain(a) not in found]
    if missing:
        return Parsed(None, f"no score for {', '.join(missing)}")
    scores = []
    for name in attributes:
        number = _number(found[_plain(name)], highest)
        if number is None:
            return Parsed(None, f"{name} is not a number: {shorten(repr(found[_plain(name)]), 60)}")
        if not lowest <= number <= highest:
            return Parsed(None, f"{name} is {number:g}, outside {lowest:g} to {highest:g}")
        scores.append(number)
    return Parsed(tuple(scores))


def _number(value: object, highest: float) -> float | None:
    """Return 4 from 4, 4.0, "4", "4/5", "4 out of 5" or {"score": 4, ...}; None from anything else."""
    if isinstance(value, dict):
        inner = [v for k, v in value.items() if _plain(str(k)) in ("score", "rating", "value", "grade")]
        return _number(inner[0], highest) if len(inner) == 1 else None
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    match = _NUMBER.match(value) if isinstance(value, str) else None
    if match is None or (match[2] is not None and float(match[2]) != highest):
        return None  # 4/10 is not on this scale
    return float(match[1])


def _read_lines(text: str, attributes: Sequence[str], highest: float) -> dict[str, Any]:
    """Return what lines like "**Clarity**: 4/5" say; an attribute rated twice differently is left out."""
    found: dict[str, Any] = {}
    for name in attributes:
        label = re.escape(name).replace("_", r"[\s_-]")
        pattern = rf"^[\s*\-#>\d.]*{label}\W*[:=]\W*(\d+(?:\.\d+)?(?:\s*(?:/|out of)\s*\d+)?)[\s*.,;]*$"
        values = {_number(m, highest) for m in re.findall(pattern, text, re.IGNORECASE | re.MULTILINE)}
        if len(values) == 1:
            found[name] = values.pop()
    return found


def _plain(name: object) -> str:
    return re.sub(r"[^a-z0-9]+", "", str(name).lower())
