"""Self-consistency: how often sampled answers to one question agree with its reference answer.

Two answers agree under the rule `number` if their final numbers are equal in value (the number after the first
`####`, else the last number; 72, 72.0 and $72 are the same number), and under `text` if the texts are equal
except for case and white space.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

RULES = ("number", "text")
_NUMBER = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?|-?\$?\.\d+")


def final_answer(text: str, rule: str) -> str | None:
    """Extract the answer of a text in a form that can be compared.

    Args:
        text: a reply or a reference answer.
        rule: "number" or "text".

    Returns:
        The canonical answer, or None if there is none.

    Raises:
        ValueError: unknown rule.

    Example:
        >>> final_answer("He pays $72.00 in all.", "number")
        '72'
    """
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}; allowed: {', '.join(RULES)}")
    if rule == "text":
        return " ".join(text.split()).casefold() or None
    _, mark, after = text.partition("####")
    found = _NUMBER.findall(after.split("\n", 1)[0]) if mark else []
    number = found[0] if found else next(iter(_NUMBER.findall(text)[-1:]), None)
    return None if number is None else _canonical(number)


def _canonical(number: str) -> str:
    """Return the same text for equal values; `number` is a match of `_NUMBER`."""
    value = Decimal(number.replace(",", "").replace("$", ""))
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text if value else "0"


def share_that_agrees(answers: Sequence[str | None], reference: str) -> float:
    """Return the share of samples whose answer equals the reference; a sample without an answer does not agree.

    Args:
        answers: canonical answers of the samples (see `final_answer`), at least one.
        reference: canonical reference answer.

    Returns:
        A share in [0, 1].

    Raises:
        ValueError: there are no samples.

    Example:
        >>> share_that_agrees(["72", None, "72", "70"], "72")
        0.5
    """
    if not answers:
        raise ValueError("answers is empty; give at least one sample")
    return sum(answer == reference for answer in answers) / len(answers)
