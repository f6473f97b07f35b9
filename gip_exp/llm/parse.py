"""Parse scores from a reply, or give the reason why there are none.

A reply is read without its thinking and code fences. Where it is one {...} and nothing else, that is the verdict,
mended for trailing commas, single quotes and Python's literals. Where there are words around it, a complete {...}
still counts, unless it could be a quote of the judged text: two verdicts that differ, or one that stands in the
judged text too, are no verdict, and neither is anything but a bare object in a reply that was cut off. Last, a
reply of nothing but lines such as "Clarity: 4/5" is read. An answer counts only when every attribute has one number
within the scale: nothing is guessed or filled in.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

from gip_exp.llm.errors import shorten

# Where the chat template has opened the thoughts already, the reply holds their end alone.
_THINKING = re.compile(
    r"(?:\A(?:(?!<think).)*?</think>)|<(think|thinking|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE
)
_LINE = re.compile(
    r"^[\s*\-#\d.]*([A-Za-z][\w -]*?)\W*[:=]\W*(\d+(?:\.\d+)?(?:\s*(?:/|out of)\s*\d+)?)[\s*.,;]*$",
    re.IGNORECASE,
)
_FENCED = re.compile(r"\A```\w*\s*(.*?)\s*```\Z", re.DOTALL)
_NUMBER = re.compile(r"^\s*([-+]?\d+(?:\.\d+)?)\s*(?:(?:/|out of)\s*(\d+))?\s*$", re.IGNORECASE)
_LARGEST = 1e6  # beyond any scale; an int of 400 digits does not even fit a float
_LONGEST = 200_000  # characters looked at; a longer reply is a runaway


@dataclass(frozen=True)
class Parsed:
    """Scores of a reply: one float per attribute in the requested order, or None with a reason."""

    scores: tuple[float, ...] | None
    reason: str = ""


def parse_scores(
    text: str,
    attributes: Sequence[str],
    lowest: float = 1,
    highest: float = 5,
    *,
    judged: str = "",
    cut: bool = False,
) -> Parsed:
    """Return the scores in `text` for `attributes`.

    Args:
        text: the reply.
        attributes: names of the attributes.
        lowest: lower end of the scale.
        highest: upper end of the scale.
        judged: the graded text, which the reply may quote.
        cut: whether the reply was truncated.

    Returns:
        Parsed.
    """
    whole, visible = (_FENCED.sub(r"\1", one.strip()) for one in (text[:_LONGEST], _without_thoughts(text)))
    if not visible:
        return Parsed(None, "the reply is empty")
    for one in (whole, visible):
        if list(_spans(one)) == [(0, len(one))] and isinstance(value := _loads(one), dict):
            return _read_object(value, attributes, lowest, highest)
    read = [_read_object(one, attributes, lowest, highest) for one in json_objects(visible)]
    if not read and (lines := _read_lines(visible, attributes, highest)):
        read = [_read_object(lines, attributes, lowest, highest)]
    found = {one.scores for one in read if one.scores is not None}
    if not found:
        return Parsed(None, read[-1].reason if read else f"no JSON object in {shorten(visible, 120)!r}")
    quotable = {_read_object(one, attributes, lowest, highest).scores for one in json_objects(judged)}
    if doubt := _doubt(found, quotable, cut):
        return Parsed(None, doubt)
    return Parsed(found.pop())


def _doubt(found: Set[Any], quotable: Set[Any], cut: bool) -> str:
    """Return why grades within other text may not be the judge's own, or ''."""
    if cut:
        return "the grades are not the whole of the reply, so they may be a quote"
    if len(found) > 1:
        return f"{len(found)} verdicts that differ, one of them perhaps quoted"
    return "the judged text holds the same grades, so they may be a quote" if found & quotable else ""


def _without_thoughts(text: str) -> str:
    return _THINKING.sub("", text[:_LONGEST])


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
            return json.loads(candidate, object_pairs_hook=_without_repeats)
        except (ValueError, RecursionError):
            continue
    try:
        return _literal(straight)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object, or ValueError where a name comes twice: which of the two is meant would be a guess."""
    if len({_plain(name) for name, _ in pairs}) < len(pairs):
        raise ValueError("a name comes twice")
    return dict(pairs)


def _literal(text: str) -> object:
    """A Python literal without repeated names."""
    tree = ast.parse(text, mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            _without_repeats([(str(ast.literal_eval(key)), None) for key in node.keys if key is not None])
    return ast.literal_eval(tree)


def _read_object(value: dict[str, Any], attributes: Sequence[str], lowest: float, highest: float) -> Parsed:
    found = {_plain(k): v for k, v in value.items()}
    inner = [v for v in value.values() if isinstance(v, dict)]
    if len(inner) == 1 and len(found.keys() - {"comment"}) == 1:
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
        return float(value) if abs(value) < _LARGEST else None  # NaN is not below it either
    match = _NUMBER.match(value) if isinstance(value, str) else None
    if match is None or (match[2] is not None and float(match[2]) != highest):
        return None  # 4/10 is not on this scale
    return float(match[1])


def _read_lines(text: str, attributes: Sequence[str], highest: float) -> dict[str, Any]:
    """Return what lines like "**Clarity**: 4/5" say where there is nothing else; two for one attribute are none."""
    names = {_plain(name): name for name in attributes}
    found: dict[str, Any] = {}
    for line in filter(str.strip, text.splitlines()):
        match = _LINE.match(line)
        name = names.get(_plain(match[1])) if match else None
        if match is None or name is None or name in found:
            return {}
        found[name] = _number(match[2], highest)
    return found


def _plain(name: object) -> str:
    return re.sub(r"[^a-z0-9]+", "", str(name).lower())
