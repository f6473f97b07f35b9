"""The report's content in reading order: what is there, figures, results, subsets, cost."""

from collections.abc import Mapping, Sequence

from gip_exp.report import text
from gip_exp.report.claims import MIN_SEEDS
from gip_exp.report.document import Document, Figure, Section, Table
from gip_exp.report.rows import Result
from gip_exp.report.runs import Found
from gip_exp.report.study import Group
from gip_exp.report.tables import HOW, check_table, cost_tables, result_table, subset_table, verdict_table
from gip_exp.report.verdicts import decide_all, elsewhere

CLAIMS_HOW = (
    "Statements come from the paper's abstract and captions. What a word such as near or often means in numbers is "
    "our choice and stands in the rule. A comparison is decided by the wider bounds of two 95 % intervals of the "
    f"paired difference, and only with at least {MIN_SEEDS} shared seeds.",
)


def make_document(
    found: Found, groups: Sequence[Group], results: Sequence[Result], figures: Mapping[str, Sequence[Figure]]
) -> Document:
    """Everything the report says, before it is written in any notation."""
    sections = [
        Section("Figures", (), tuple(figures["results"])),
        _claims(groups),
        *(_results(group, results) for group in groups),
        _subsets(groups, figures["subsets"]),
        _cost(groups, figures["cost"]),
        Section("How to read the numbers", HOW),
    ]
    return Document(
        "What the runs show", _summary(found, groups), tuple(s for s in sections if s.parts or s.paragraphs)
    )


def _summary(found: Found, groups: Sequence[Group]) -> tuple[str, ...]:
    lines = [f"{text.count(len(found.runs), 'run')} in {text.count(len(groups), 'table group')}."]
    return (*lines, *(f"{other.status}: {other.folder} ({other.reason})" for other in found.others))


def _results(group: Group, results: Sequence[Result]) -> Section:
    tables = tuple(result_table(result) for result in results if result.group is group)
    return Section(group.title, group.notes, tables)


def _subsets(groups: Sequence[Group], figures: Sequence[Figure]) -> Section:
    tables = [subset_table(group) for group in groups]
    return Section("What was selected", (), (*figures, *(table for table in tables if table is not None)))


def _cost(groups: Sequence[Group], figures: Sequence[Figure]) -> Section:
    return Section("Cost", (), (*figures, *(table for group in groups for table in cost_tables(group))))


def _claims(groups: Sequence[Group]) -> Section:
    """Verdicts about the paper; then the same rules where the paper says nothing; then the evidence."""
    verdicts, others = decide_all(groups), elsewhere(groups)
    parts: list[Table | Figure] = [verdict_table(verdicts, "Verdicts from these runs", "claims")]
    if others:
        title = "The same rules on other models or budgets (no evidence about the paper's)"
        parts.append(verdict_table(others, title, "claims-elsewhere"))
    evidence = check_table([*verdicts, *others])
    return Section("The paper's claims", CLAIMS_HOW, (*parts, *([evidence] if evidence else [])))
