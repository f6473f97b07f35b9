"""The report's content in reading order: what is there, figures, results, subsets, cost."""

from collections.abc import Mapping, Sequence

from gip_exp.report import text
from gip_exp.report.document import Document, Figure, Section
from gip_exp.report.rows import Result
from gip_exp.report.runs import Found
from gip_exp.report.study import Group
from gip_exp.report.tables import HOW, cost_tables, result_table, subset_table


def make_document(
    found: Found, groups: Sequence[Group], results: Sequence[Result], figures: Mapping[str, Sequence[Figure]]
) -> Document:
    """Everything the report says, before it is written in any notation."""
    sections = [
        Section("Figures", (), tuple(figures["results"])),
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
