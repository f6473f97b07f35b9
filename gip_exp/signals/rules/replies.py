"""Rubric `instruction`: surface attributes of a reply to an instruction; they say nothing of its truth.

complete    1 when the reply ends like a finished text, 0.5 when it ends in a word or number, else 0
length_fit  exp(-(ln(w / 60) / 1.5)^2 / 2), w the words of the reply
distinct    share of the reply's three-word sequences that are not repeats (one sequence, when it is shorter)
on_topic    share of the instruction's content words (over three letters) that the reply takes up, compared by
            their first five letters
format      1 minus a third for each of: leftover markup or placeholders; a small letter to start with; a list
            asked for and none given
"""

from __future__ import annotations

import math
import re

ATTRIBUTES = ("complete", "length_fit", "distinct", "on_topic", "format")
WORD = re.compile(r"[^\W\d_]+")
LEFTOVER = re.compile(
    r"<noinput>|<nooutput>|&(?:lt|gt|amp|nbsp);|\[insert|\bTODO\b|lorem ipsum|as an ai\b", re.IGNORECASE
)
LIST_ASKED = re.compile(
    r"\b(?:list|bullet|steps|enumerate|name (?:\w+ )?(?:two|three|four|five|\d+))\b", re.IGNORECASE
)
LIST_GIVEN = re.compile(r"(?m)^\s*(?:[-*•]|\d+[.)]|[a-z][.)])\s|,.*,")


def judge(prompt: str, completion: str) -> tuple[float, ...]:
    """The attributes in the order of `ATTRIBUTES`."""
    reply = completion.strip()
    words = [word.lower() for word in re.findall(r"\w+", reply)]
    return (
        _completeness(reply),
        math.exp(-((math.log(len(words) / 60) / 1.5) ** 2) / 2) if words else 0.0,
        _distinct(words),
        _on_topic(prompt, words),
        _format(prompt, reply),
    )


def _completeness(reply: str) -> float:
    if not reply:
        return 0.0
    if reply[-1] in ".!?\"'”’)]}`>;:|…" and not reply.endswith(" :"):
        return 1.0
    return 0.5 * reply[-1].isalnum()


def _distinct(words: list[str]) -> float:
    if not words:
        return 0.0
    width = min(3, len(words))
    grams = [tuple(words[i : i + width]) for i in range(len(words) - width + 1)]
    return len(set(grams)) / len(grams)


def _on_topic(prompt: str, words: list[str]) -> float:
    topic = {word.lower()[:5] for word in WORD.findall(prompt) if len(word) > 3}
    taken_up = topic & {word[:5] for word in words}
    return len(taken_up) / len(topic) if topic else 0.0


def _format(prompt: str, reply: str) -> float:
    if not reply:
        return 0.0
    faults = [
        bool(LEFTOVER.search(reply)),
        reply[0].islower(),
        bool(LIST_ASKED.search(prompt)) and not LIST_GIVEN.search(reply),
    ]
    return 1 - sum(faults) / 3
