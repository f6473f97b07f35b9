"""The result of every evaluation: metrics with intervals, and the outcome of each question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from eval.statistics import Interval

# Problems listed in an error message before the rest are only counted.
LISTED = 3


@dataclass(frozen=True)
class Prediction:
    """The outcome of one question.

    Attributes:
        id: the question's id.
        value: what the metric averages.
        output: the model's whole reply.
        reference: the reference answer.
    """

    id: str
    value: float
    output: str
    reference: str

    def as_dict(self) -> dict[str, str | float]:
        """Return one line of `predictions/<metric>.jsonl`."""
        return {"id": self.id, "value": self.value, "output": self.output, "reference": self.reference}


@dataclass(frozen=True)
class EvalResult:
    """Metrics and the outcomes they average.

    Attributes:
        metrics: intervals by metric name (`gsm8k/exact_match`).
        predictions: outcomes under the same names.
        warnings: facts that affect the numbers (truncated prompts, failed requests), each once.
    """

    metrics: dict[str, Interval]
    predictions: dict[str, tuple[Prediction, ...]]
    warnings: tuple[str, ...] = ()


def check_rows(rows: Sequence[Mapping[str, object]], fields: Iterable[str], what: str) -> None:
    """Raise ValueError unless there are rows, each with a unique id and non-empty text in every field.

    Args:
        rows: the rows to check.
        fields: names of the text fields.
        what: what the message calls a row ("question", "test question").

    Raises:
        ValueError: naming the first bad rows and how many there are.

    Example:
        >>> check_rows([{"id": 1, "prompt": ""}], ["prompt"], "question")
        Traceback (most recent call last):
        ValueError: questions: row 0: prompt is '', not a non-empty text
    """
    if not rows:
        raise ValueError(f"no {what}s: give at least one row with the fields id, {', '.join(fields)}")
    problems: list[str] = []
    seen: dict[str, int] = {}
    fields = tuple(fields)
    for number, row in enumerate(rows):
        if "id" not in row:
            problems.append(f"row {number} has no id")
        elif str(row["id"]) in seen:
            problems.append(f"row {number} repeats the id {row['id']!r} of row {seen[str(row['id'])]}")
        else:
            seen[str(row["id"])] = number
        for field in fields:
            text = row.get(field)
            if not isinstance(text, str) or not text:
                problems.append(f"row {number}: {field} is {text!r}, not a non-empty text")
    if problems:
        raise ValueError(f"{what}s: " + listed(problems))


def listed(problems: Sequence[str]) -> str:
    """Return the first few problems as one text, and how many more there are.

    Args:
        problems: one text each.

    Returns:
        The text.

    Example:
        >>> listed(["a", "b", "c", "d", "e"])
        'a; b; c; and 2 more'
    """
    more = f"; and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
    return "; ".join(problems[:LISTED]) + more
