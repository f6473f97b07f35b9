"""What every evaluation hands back: metrics with intervals, and the outcome of each question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from eval.statistics import Interval

# How many offending rows an error message lists before it only counts.
LISTED = 3


@dataclass(frozen=True)
class Prediction:
    """One question's outcome: `value` is what the metric averages, `output` the model's whole reply."""

    id: str
    value: float
    output: str
    reference: str

    def as_dict(self) -> dict[str, str | float]:
        """One line of `predictions/<metric>.jsonl`."""
        return {"id": self.id, "value": self.value, "output": self.output, "reference": self.reference}


@dataclass(frozen=True)
class EvalResult:
    """Metrics by name (`gsm8k/exact_match`) and, under the same names, the outcomes they average.

    `warnings` are facts that touch the numbers (truncated prompts, failed requests), each said once.
    """

    metrics: dict[str, Interval]
    predictions: dict[str, tuple[Prediction, ...]]
    warnings: tuple[str, ...] = ()


def check_rows(rows: Sequence[Mapping[str, object]], fields: Iterable[str], what: str) -> None:
    """ValueError unless there are rows, each with a unique id and non-empty text in every field.

    `what` names the rows in the message ("question", "test question"); all bad rows are reported together.
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
    """The first few problems, and how many more there are."""
    more = f"; and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
    return "; ".join(problems[:LISTED]) + more
