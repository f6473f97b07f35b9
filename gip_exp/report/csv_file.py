"""`report.csv`: one line per cell and metric, numbers unrounded, for further tables and figures."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

from gip_exp.report.names import FULL, RANDOM
from gip_exp.report.rows import Result, Row
from gip_exp.report.subsets import average

NAMES = ("experiment", "model", "setup", "metric", "method", "selector", "variant")
SUBSET = ("clean_share", "skills_covered", "n_skills", "skill_entropy")


def render(results: Sequence[Result]) -> str:
    """Return CSV with a header. An empty field means that there is no such number."""
    stages = sorted({stage for row in _all(results) for run in row.cell.all_runs() for stage in run.stages})
    stream = io.StringIO()
    lines = [{**_cell(result, row), **_cost(row, stages)} for result in results for row in result.rows]
    writer = csv.DictWriter(stream, list(lines[0]) if lines else ["experiment"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()


def _all(results: Sequence[Result]) -> Iterable[Row]:
    return (row for result in results for row in result.rows)


def _cell(result: Result, row: Row) -> dict[str, Any]:
    cell, summary = row.cell, row.summary
    line: dict[str, Any] = {
        "experiment": result.group.experiment,
        "model": result.group.model,
        "setup": _settings(result.group.setup),
        "metric": result.metric,
        "method": cell.arm.label,
        "selector": cell.arm.method,
        "variant": _settings(cell.arm.variant),
        "budget": cell.share if cell.n_selected else "",
        "budget_unit": cell.unit,
        "n_selected": cell.n_selected or "",
        "tokens_trained": _number(cell.mean_of(lambda run: run.trained_tokens)),
        "words_a_row": _number(cell.mean_of(lambda run: run.mean_words)),
        "n_pool": cell.n_pool,
        "seeds": len(summary.seeds),
        "seed_list": " ".join(map(str, summary.seeds)),
        "questions": summary.questions,
        "mean": summary.mean.value,
        "low": _number(summary.mean.low),
        "high": _number(summary.mean.high),
        "interval": summary.kind,
        "standard_error": _number(summary.error),
        "seed_means": " ".join(f"{mean:.6g}" for mean in summary.per_seed),
    }
    for reference in (RANDOM, FULL):
        line |= {f"{name}_{reference}": value for name, value in _comparison(row, reference).items()}
    subset = average(cell)
    texts = {name: _text(line[name]) for name in NAMES}
    return {**line, **texts, **{name: subset.get(name, "") for name in SUBSET}}


def _comparison(row: Row, reference: str) -> dict[str, Any]:
    names = (
        "difference",
        "low",
        "high",
        "seeds",
        "p_questions",
        "p_questions_holm",
        "p_seeds",
        "p_seeds_holm",
    )
    found = row.against(reference)
    if found is None:
        return dict.fromkeys(names, "")
    gap = found.difference
    numbers = (
        gap.mean.value,
        gap.mean.low,
        gap.mean.high,
        len(gap.seeds),
        gap.p_questions,
        found.p_questions,
    )
    return dict(zip(names, map(_number, (*numbers, gap.p_seeds, found.p_seeds)), strict=True))


def _cost(row: Row, stages: Sequence[str]) -> dict[str, Any]:
    """Return the mean seconds of each stage over the runs of a cell, whichever run made the output."""
    runs = row.cell.all_runs()
    seconds = {
        stage: [run.stages[stage]["seconds"] for run in runs if stage in run.stages] for stage in stages
    }
    return {f"seconds_{stage}": sum(found) / len(found) if found else "" for stage, found in seconds.items()}


def _text(value: str) -> str:
    """Return a name that no spreadsheet interprets as a formula."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else value


def _number(value: float) -> float | str:
    return "" if math.isnan(value) else value


def _settings(settings: Iterable[tuple[str, Any]]) -> str:
    return " ".join(f"{key}={value}" for key, value in settings)
