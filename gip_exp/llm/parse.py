"""Parse scores from a reply, or give the reason why there are none.

A reply without its thinking and a code fence must be one JSON object with a number within the scale for every
attribute; otherwise the caller requests another reply. Nothing is repaired, guessed or filled in, and grades within other text
never count, since they may be a quotation of the judged text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gip_exp.llm.errors import shorten

# The end alone, because chat templates may have opened the thinking already. Thinking without an end is no JSON.
_THINKING_ENDS = re.compile(r"</(?:think|thinking|reasoning)>", re.IGNORECASE)
_FENCED = re.compile(r"\A```\w*\s*(.*?)\s*```\Z", re.DOTALL)


@dataclass(frozen=True)
class Parsed:
    """Scores of a reply: one float per attribute in the requested order, or None with a reason."""

    scores: tuple[float, ...] | None
    reason: str = ""


def parse_scores(text: str, attributes: Sequence[str], lowest: float = 1, highest: float = 5) -> Parsed:
    """Return the scores in `text` for `attributes`.

    Args:
        text: the reply.
        attributes: names of the attributes.
        lowest: lower end of the scale.
        highest: upper end of the scale.

    Returns:
        Parsed.
    """
    answer = _THINKING_ENDS.split(text)[-1].strip()
    if not answer:
        return Parsed(None, "the reply is empty")
    found = _object(text.strip()) or _object(answer)  # a comment may hold such a tag
    if found is None:
        return Parsed(None, f"no JSON object in {shorten(answer, 120)!r}")
    if missing := [name for name in attributes if _plain(name) not in found]:
        return Parsed(None, f"no score for {', '.join(missing)}")
    scores = {name: found[_plain(name)] for name in attributes}
    for name, score in scores.items():
        if isinstance(score, bool) or not isinstance(score, int | float):
            return Parsed(None, f"{name} is not a number: {shorten(repr(score), 60)}")
        if not lowest <= score <= highest:
            return Parsed(None, f"{name} is {shorten(str(score), 60)}, outside {lowest:g} to {highest:g}")
    return Parsed(tuple(map(float, scores.values())))


def _object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that `text` is, possibly fenced, or None."""
    try:
        found = json.loads(_FENCED.sub(r"\1", text), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object; ValueError for a repeated name, since which one counts would be a guess."""
    found = {_plain(name): value for name, value in pairs}
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found


def _plain(name: str) -> str:
    return name.strip().lower()
