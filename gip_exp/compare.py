"""`python -m gip_exp.compare A B`: two evaluations of the same questions, compared question by question.

A and B are sample files of lm-eval (`samples_<task>_<time>.jsonl`) or run folders. For each metric that both have: the
difference A - B with its 95 % interval, a permutation test of no difference, two one-sided tests of equivalence within
`--margin`, and the questions that only one of them answers.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from gip_exp.errors import UserError
from gip_exp.runs.folder import PREDICTIONS
from gip_exp.storage.files import read_jsonl

MARGIN = 0.02  # of outcomes 0 and 1: two points
IDENTITY = (
    "target_hash",
    "doc_hash",
    "target",
)  # of a question in lm-eval's files, the first one that there is
NOT_METRICS = {"doc_id"}
LABELS = (
    "questions", "A", "B", "A - B", "95 %", "p (differ)", "margin", "p (equivalent)", "verdict", "only A", "only B",
)  # fmt: skip


@dataclass(frozen=True)
class Outcomes:
    """Outcomes of one metric: question id -> value, and question id -> what identifies the question."""

    values: dict[str, float] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; return the exit code: 2, with a message on stderr, for an error the user can fix."""
    options = _parser().parse_args(arguments)
    try:
        _perform(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gip-exp compare",
        description="Compare two evaluations of the same questions, paired question by question.",
        allow_abbrev=False,
    )
    parser.add_argument("a", metavar="A", type=Path, help="a sample file of lm-eval, or a run folder")
    parser.add_argument("b", metavar="B", type=Path, help="what it is compared with, of the same kind")
    parser.add_argument("--metric", help="only this metric; by default all that both have")
    parser.add_argument(
        "--margin",
        type=float,
        help=f"smallest difference that matters, in the unit of the metric; {MARGIN} for outcomes 0 and 1, needed for others",
    )
    return parser


def read(path: Path) -> dict[str, Outcomes]:
    """Return the outcomes of a sample file or run folder by metric.

    Raises:
        UserError: there is no such file, or it holds no outcomes.
    """
    if path.is_dir():
        folder = path / PREDICTIONS
        found = {
            str(file.relative_to(folder).with_suffix("")): _of_run(file)
            for file in sorted(folder.rglob("*.jsonl"))
        }
        if not found:
            raise UserError(f"{path} has no {PREDICTIONS}/*.jsonl: give the folder of a run with evaluations")
        return found
    if not path.is_file():
        raise UserError(
            f"{path} does not exist: give a sample file of lm-eval (--log_samples), or a run folder"
        )
    return _of_samples(path)


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows = read_jsonl(path)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not JSON lines ({error}): give a sample file of lm-eval") from None
    if not all(isinstance(row, Mapping) for row in rows):
        raise UserError(f"{path}: every line must be a JSON object, as in the sample files of lm-eval")
    return rows


def _of_run(path: Path) -> Outcomes:
    found = Outcomes()
    for row in _rows(path):
        if row.get("value") is not None:  # a reply without a score
            found.values[str(row["id"])] = float(row["value"])
            found.asked[str(row["id"])] = str(row.get("reference"))
    return found


def _of_samples(path: Path) -> dict[str, Outcomes]:
    """Return the outcomes by `metric` or, where lm-eval applied several filters, by `metric,filter`."""
    rows = _rows(path)
    if not rows or "doc_id" not in rows[0]:
        raise UserError(f"{path} has no lines with a doc_id: give a sample file of lm-eval (--log_samples)")
    several = len({row.get("filter") for row in rows}) > 1
    found: dict[str, Outcomes] = {}
    for row in rows:
        named = row.get("metrics") or [name for name, value in row.items() if _is_outcome(name, value)]
        for metric in (name for name in named if _is_outcome(name, row.get(name))):
            outcomes = found.setdefault(f"{metric},{row['filter']}" if several else metric, Outcomes())
            question = str(row["doc_id"])
            if question in outcomes.values:
                raise UserError(
                    f"{path} has doc_id {question} twice for {metric}: give the samples of one task"
                )
            outcomes.values[question] = float(row[metric])
            outcomes.asked[question] = str(next((row[key] for key in IDENTITY if key in row), ""))
    if not found:
        raise UserError(f"{path} has no metric with one number per question")
    return found


def _is_outcome(name: str, value: Any) -> bool:
    return name not in NOT_METRICS and isinstance(value, bool | int | float) and math.isfinite(value)


def _perform(options: argparse.Namespace) -> None:
    from gip_exp.console import Console

    ours, theirs = read(options.a), read(options.b)
    shared = [metric for metric in ours if metric in theirs and options.metric in (None, metric)]
    if not shared:
        raise UserError(
            f"no metric to compare{f' (--metric {options.metric})' if options.metric else ''}: {options.a} has "
            f"{', '.join(ours)}; {options.b} has {', '.join(theirs)}"
        )
    console = Console(sys.stdout)
    columns = [_column(metric, ours[metric], theirs[metric], options, console) for metric in shared]
    table = Table("", *shared)
    for label, cells in zip(LABELS, zip(*columns, strict=True), strict=True):
        table.add_row(label, *cells)
    console.table(table)
    console.say(
        "p (differ): sign-flip permutation over questions. p (equivalent): the larger of two one-sided t tests; below .05 the "
        "difference is within the margin. Only A, only B: questions right in one of them alone."
    )


def _column(metric: str, a: Outcomes, b: Outcomes, options: argparse.Namespace, console: Any) -> list[str]:
    from eval.equivalence import two_one_sided
    from eval.paired import paired_permutation

    both = _in_both(metric, a, b, console)
    ours, theirs = ({q: run.values[q] for q in both} for run in (a, b))
    margin = options.margin
    if margin is None:
        margin = _usual_margin(metric, {*ours.values(), *theirs.values()})
    try:
        found = two_one_sided(ours, theirs, margin)
        wide = two_one_sided(ours, theirs, margin, alpha=0.025)
    except ValueError as error:
        raise UserError(f"{metric}: {error}") from None
    p = paired_permutation({(0, q): ours[q] for q in both}, {(0, q): theirs[q] for q in both})
    verdict = "equivalent" if found.equivalent else "different" if p < 0.05 else "undecided"
    if found.equivalent and p < 0.05:
        verdict = "different, within the margin"
    means = [sum(run.values()) / len(both) for run in (ours, theirs)]
    flips = ["", ""] if found.flips is None else [f"{found.flips.only_a:,}", f"{found.flips.only_b:,}"]
    return [
        f"{len(both):,}",
        *(f"{mean:.4f}" for mean in means),
        f"{found.difference:+.4f}",
        f"{wide.low:+.4f} to {wide.high:+.4f}",
        f"{p:.3g}",
        f"{margin:g}",
        f"{found.p:.3g}",
        verdict,
        *flips,
    ]


def _in_both(metric: str, a: Outcomes, b: Outcomes, console: Any) -> list[str]:
    """Return the questions that both have. Raises UserError if they are not the same questions."""
    both = [question for question in a.values if question in b.values]
    changed = [question for question in both if a.asked[question] != b.asked[question]]
    if changed:
        raise UserError(
            f"{metric}: {len(changed):,} of {len(both):,} questions have another answer in B (first: {changed[0]}), so these "
            "are not the same questions: compare evaluations of one task and version"
        )
    if len(both) < 2:
        raise UserError(f"{metric}: {len(both)} questions are in both A and B; at least two are needed")
    if left := len(a.values.keys() ^ b.values.keys()):
        console.warn(
            f"{metric}: {left:,} questions are only in one of A and B, or unscored there, and left out"
        )
    return both


def _usual_margin(metric: str, values: AbstractSet[float]) -> float:
    """Return the margin of outcomes 0 and 1. Raises UserError for other outcomes."""
    if not values <= {0.0, 1.0}:
        raise UserError(
            f"{metric} has outcomes other than 0 and 1: give --margin, the smallest difference that matters"
        )
    return MARGIN


if __name__ == "__main__":
    from gip_exp.stdout import run_and_exit

    run_and_exit(main)
