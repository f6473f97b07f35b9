"""Self-consistency: how often sampled answers to one question agree with its reference answer.

Two answers are the same under the rule `number` when their final numbers are equal in value (the number after the
first `####`, else the last number; 72, 72.0 and $72 are one number), under `text` when the texts are equal apart
from case and white space.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

RULES = ("number", "text")
_NUMBER = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?|-?\$?\.\d+")


def final_answer(text: str, rule: str) -> str | None:
    """The answer in a text in a form that can be compared, or None where there is none."""
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}; allowed: {', '.join(RULES)}")
    if rule == "text":
        return " ".join(text.split()).casefold() or None
    _, mark, after = text.partition("####")
    found = _NUMBER.findall(after.split("\n", 1)[0]) if mark else []
    number = found[0] if found else next(iter(_NUMBER.findall(text)[-1:]), None)
    return None if number is None else _canonical(number)


def _canonical(number: str) -> str:
    """The same text for equal values; `number` is a match of `_NUMBER`."""
    value = Decimal(number.replace(",", "").replace("$", ""))
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text if value else "0"


def share_that_agrees(answers: Sequence[str | None], reference: str) -> float:
    """Share of the samples whose answer is the reference's, in [0, 1]; a sample without an answer does not agree."""
    if not answers:
        raise ValueError("answers is empty; give at least one sample")
    return sum(answer == reference for answer in answers) / len(answers)
