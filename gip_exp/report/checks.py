"""Refuse runs that cannot be compared in one table: different questions under one experiment's name."""

from collections.abc import Mapping, Sequence
from zlib import crc32

from gip_exp.errors import UserError
from gip_exp.report.names import MT_BENCH
from gip_exp.report.run import Answer, Run

LISTED = 4  # run folders named in a message before the rest are only counted
REMEDY = (
    "keep experiments apart: run one of them below another folder (paths.root=DIR), "
    "or report a folder that holds only one of them"
)


def check(runs: Sequence[Run]) -> None:
    """Raise UserError naming all mixtures found, with runs and questions. Runs on different data are apart (`by_data`)."""
    problems: list[str] = []
    for experiment in sorted({run.experiment for run in runs}):
        members = [run for run in runs if run.experiment == experiment]
        problems += _questions(experiment, members)
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise UserError(f"runs are mixed that cannot be compared: {REMEDY}{lines}")


def _questions(experiment: str, runs: Sequence[Run]) -> list[str]:
    """All runs of a metric must have answered the same ids; runs on the same data, the same questions."""
    problems = []
    for metric in sorted({name for run in runs for name in run.answers}):
        having = [run for run in runs if metric in run.answers]
        if metric.startswith(MT_BENCH):
            continue  # MT-Bench leaves out questions without a rating, and the tables count them
        ids: dict[str, list[Run]] = {}
        for run in having:
            ids.setdefault(_span(run.answers[metric]), []).append(run)
        if len(ids) > 1:
            problems.append(
                f"experiment {experiment}, {metric}: the runs answered different questions: {_who('', ids)}"
            )
        else:
            problems += _references(experiment, metric, having)
    return problems


def _span(answers: Mapping[str, Answer]) -> str:
    """Return a readable key for a set of question ids."""
    ordered = sorted(answers)
    mark = crc32("\n".join(ordered).encode())
    return f"{len(ordered)} questions {ordered[0]}..{ordered[-1]} (set {mark:08x})"


def _references(experiment: str, metric: str, runs: Sequence[Run]) -> list[str]:
    """Find questions with the same data and id but another reference: they are different questions."""
    first: dict[str, Run] = {}
    for run in runs:
        known = first.setdefault(run.data_key, run)
        ours, theirs = run.answers[metric], known.answers[metric]
        odd = next((id for id in sorted(ours) if ours[id].reference != theirs[id].reference), None)
        if odd is not None:
            return [
                f"experiment {experiment}, {metric}: the runs answered different questions: {odd} has "
                f"another reference in {run.folder.name} than in {known.folder.name}"
            ]
    return []


def _who(what: str, parts: Mapping[str, Sequence[Run]]) -> str:
    """Return each part with the runs in it, largest first, as text."""
    texts = []
    for key, runs in sorted(parts.items(), key=lambda item: -len(item[1])):
        names = ", ".join(run.folder.name for run in runs[:LISTED])
        more = f" and {len(runs) - LISTED} more" if len(runs) > LISTED else ""
        texts.append(f"{what} {key}".strip() + f" in {names}{more}")
    return "; ".join(texts)
