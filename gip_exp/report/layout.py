"""The report's content in reading order: summary, figures, claims, results, subsets, cost."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from gip_exp.report import text
from gip_exp.report.claims import MIN_SEEDS
from gip_exp.report.context_tables import (
    category_tables,
    check_table,
    cost_tables,
    subset_table,
    verdict_table,
)
from gip_exp.report.document import Document, Figure, Section, Table
from gip_exp.report.measures import measure_table
from gip_exp.report.names import is_part
from gip_exp.report.rows import Result
from gip_exp.report.run import Found
from gip_exp.report.run_table import run_table
from gip_exp.report.study import Cell, Group
from gip_exp.report.tables import HOW, part_tables, result_table
from gip_exp.report.verdicts import NOT_RUN, Verdict, elsewhere

NOTED = 5  # notes of a group that are written out
CLAIMS_HOW = (
    "Statements come from the paper's abstract and captions. What a word such as near or often means in "
    "numbers is our choice and is part of the rule. A comparison is decided by the wider bounds of two 95 % "
    f"intervals of the paired difference, and only with at least {MIN_SEEDS} shared seeds.",
)


def make_document(
    found: Found,
    groups: Sequence[Group],
    results: Sequence[Result],
    verdicts: Sequence[Verdict],
    figures: Mapping[str, Sequence[Figure]],
    *,
    out: Path,
) -> Document:
    """Return the content of a report in the folder `out`, independent of its format."""
    # Selections alone can speak of one claim: how their time grows. Without it, a list of claims not run is no news.
    spoken_of = any(verdict.verdict != NOT_RUN for verdict in verdicts)
    judged = spoken_of or any(group.uses_model for group in groups)
    sections = [
        Section("Figures", (), tuple(figures["results"])),
        *([_claims(verdicts, elsewhere(groups))] if judged else []),
        *(_results(group, results) for group in groups),
        _subsets(groups, figures["subsets"]),
        _cost(groups, figures["cost"]),
        Section("Runs", (), (run_table(found, out),)),
        Section("How to read the numbers", HOW),
    ]
    return Document(
        "What the runs show",
        _summary(found, verdicts if judged else ()),
        tuple(s for s in sections if s.parts or s.paragraphs),
    )


def _summary(found: Found, verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """Return what was read, the tally of the claims, and every run without numbers."""
    seeds = sorted({run.seed for run in found.runs})
    shown = ", ".join(map(str, seeds))
    lines = [f"{text.count(len(found.runs), 'run')}, {text.count(len(seeds), 'seed')} ({shown})."]
    if len(seeds) == 1 and any(run.answers for run in found.runs):
        lines.append("One seed only: the intervals cover the questions, there is no interval over seeds.")
    tally = Counter(verdict.verdict for verdict in verdicts)
    if tally:
        lines.append(
            "The paper's claims: " + ", ".join(f"{n} {verdict}" for verdict, n in tally.items()) + "."
        )
    return (*lines, *(f"{other.status}: {other.folder} ({other.reason})" for other in found.others))


def _results(group: Group, results: Sequence[Result]) -> Section:
    own = [result for result in results if result.group is group]
    tables = [*(result_table(result) for result in own if not is_part(result.metric)), *part_tables(own)]
    return Section(group.title, (*_unscored(group), *group.notes[:NOTED], *_more(group.notes)), tuple(tables))


def _unscored(group: Group) -> tuple[str, ...]:
    """Return a note on rows that a selector could not pick because they have no score."""
    counts = {cell.arm.label: _most_unscored(cell) for cell in group.selecting() if _most_unscored(cell)}
    if not counts:
        return ()
    listed = ", ".join(f"{label} {count:,}" for label, count in counts.items())
    return (f"Rows of the pool without a score, which could not be selected: {listed}.",)


def _most_unscored(cell: Cell) -> int:
    return max(int(run.result.get("n_unscored") or 0) for run in cell.all_runs())


def _more(notes: Sequence[str]) -> tuple[str, ...]:
    return (f"and {len(notes) - NOTED} more such notes",) if len(notes) > NOTED else ()


def _subsets(groups: Sequence[Group], figures: Sequence[Figure]) -> Section:
    tables = [
        table
        for group in groups
        for table in (subset_table(group), measure_table(group), *category_tables(group))
    ]
    return Section("What was selected", (), (*figures, *(table for table in tables if table is not None)))


def _cost(groups: Sequence[Group], figures: Sequence[Figure]) -> Section:
    return Section("Cost", (), (*figures, *(table for group in groups for table in cost_tables(group))))


def _claims(verdicts: Sequence[Verdict], others: Sequence[Verdict]) -> Section:
    """Return verdicts about the paper, then the same rules on other models, then the evidence."""
    parts: list[Table | Figure] = [verdict_table(verdicts, "Verdicts from these runs", "claims")]
    if others:
        title = "The same rules on other models (no evidence about the paper's)"
        parts.append(verdict_table(others, title, "claims-elsewhere"))
    evidence = check_table([*verdicts, *others])
    return Section("The paper's claims", CLAIMS_HOW, (*parts, *([evidence] if evidence else [])))
