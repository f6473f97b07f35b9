"""Further tables: verdicts and evidence of the claims, the subsets, the cost."""

import math
from collections.abc import Sequence

from gip_exp.report import text
from gip_exp.report.claims import MT_BENCH, RANK_TIME
from gip_exp.report.document import Column, Table
from gip_exp.report.study import Cell, Group
from gip_exp.report.subsets import average, category_shares, costs, stage_seconds
from gip_exp.report.verdicts import OPEN, Verdict


def subset_table(group: Group) -> Table | None:
    """Return clean share and coverage of each subset, or None if the pool has no labels."""
    cells = [cell for cell in group.cells if average(cell)]
    if not cells:
        return None
    columns = (
        Column("method", "left"),
        Column("budget"),
        Column("rows"),
        Column("seeds"),
        Column("clean share, %"),
        Column("skills covered"),
        Column("skill entropy"),
    )
    note = "Means over seeds. Covered: skills with a clean example; entropy in nats over the clean rows."
    return Table(
        f"{group.slug}-subsets",
        f"{group.title}: quality and coverage of the subsets",
        columns,
        tuple(_subset_row(cell) for cell in cells),
        (note,),
    )


def _subset_row(cell: Cell) -> tuple[str, ...]:
    found = average(cell)
    covered = (
        f"{found['skills_covered']:.3g} of {found['n_skills']:.3g}" if "n_skills" in found else text.NONE
    )
    return (
        cell.arm.label,
        cell.budget_label,
        f"{cell.n_selected:,}",
        str(len(cell.runs)),
        text.value(found.get("clean_share", math.nan), True),
        covered,
        f"{found['skill_entropy']:.2f}" if "skill_entropy" in found else text.NONE,
    )


def category_tables(group: Group) -> list[Table]:
    """Return a table per text column of the rows: how often each value occurs in the pool and in the subsets."""
    cells = list(group.selecting())
    note = "Per cent of the rows, means over seeds; values by their frequency in the pool, at most 20."
    subsets = [Column(f"{cell.arm.label} {cell.budget_label}") for cell in cells]
    tables: list[Table] = []
    for column, values in category_shares(cells).items():
        heads = (Column(column, "left"), Column("pool"), *subsets)
        rows = tuple(
            (value, *(text.value(share, True) for share in shares)) for value, shares in values.items()
        )
        name = f"{group.slug}-category-{len(tables) + 1}"
        tables.append(Table(name, f"{group.title}: {column} of the selected rows", heads, rows, (note,)))
    return tables


def cost_tables(group: Group) -> list[Table]:
    """Return seconds by stage over the group, and by method for one run without reuse."""
    stages = costs(group)
    if not stages:
        return []
    rows = [
        (cost.stage, str(cost.used), str(cost.made), text.seconds(cost.each), text.seconds(cost.total))
        for cost in stages
    ]
    rows.append(("total", "", "", "", text.seconds(sum(cost.total for cost in stages))))
    columns = (
        Column("stage", "left"),
        Column("runs that use it"),
        Column("made"),
        Column("seconds each"),
        Column("total"),
    )
    note = "An output that several runs share is made once and counted once."
    title = f"{group.title}: cost of each stage"
    together = Table(f"{group.slug}-stages", title, columns, tuple(rows), (note,), total=True)
    return [together, _cost_by_method(group, [cost.stage for cost in stages])]


def _cost_by_method(group: Group, stages: Sequence[str]) -> Table:
    columns = (
        Column("method", "left"),
        Column("budget"),
        *(Column(stage) for stage in stages),
        Column("sum"),
    )
    rows = []
    for cell in group.cells:
        seconds = stage_seconds(cell)
        shown = [text.seconds(seconds[stage]) if stage in seconds else text.NONE for stage in stages]
        rows.append((cell.arm.label, cell.budget_label, *shown, text.seconds(sum(seconds.values()))))
    note = "Mean over the runs; the cost of one run without reuse."
    return Table(f"{group.slug}-cost", f"{group.title}: cost of one run", columns, tuple(rows), (note,))


def verdict_table(verdicts: Sequence[Verdict], title: str, name: str) -> Table:
    """Return a table with one line per claim: statement, source, rule, verdict and reason."""
    columns = (
        Column("claim", "left", wide=True),
        Column("verdict", "left"),
        Column("because", "left", wide=True),
        Column("holds if", "left", wide=True),
        Column("from", "left"),
    )
    rows = tuple((v.claim.statement, v.verdict, v.reason, v.claim.rule, v.claim.source) for v in verdicts)
    return Table(name, title, columns, rows)


def check_table(verdicts: Sequence[Verdict]) -> Table | None:
    """Return the comparisons behind the verdicts for which there are runs, or None."""
    rows: list[tuple[str, ...]] = []
    ruled: list[int] = []
    for verdict in verdicts:
        made = [check for check in verdict.checks if check.why != "missing"]
        ruled += [len(rows)] if made and rows else []
        percent = verdict.claim.measure not in (MT_BENCH, RANK_TIME, "subset/skill_entropy")
        for check in made:
            bounds = text.interval(check.low, check.high, percent, sign=True)
            state = f"open: {check.why}" if check.state == OPEN else check.state
            shown = text.signed(check.value, percent)
            flips = [text.NONE] * 2 if check.flips is None else [f"{n:,}" for n in check.flips]
            rows.append(
                (verdict.claim.id, check.model, check.what, str(check.seeds), shown, bounds, *flips, state)
            )
    if not rows:
        return None
    columns = (
        *(Column(name, "left") for name in ("claim", "where", "comparison")),
        *(Column(name) for name in ("seeds", "difference", "wider 95 %", "better on", "worse on")),
        Column("outcome", "left"),
    )
    note = (
        "Wider 95 %: the wider bounds of the bootstrap over seeds and questions and Student's t over seeds. Better, worse "
        "on: outcomes, paired by seed and question, on which the two differ. For time: the exponent, and timed selections."
    )
    title = "The comparisons behind the verdicts"
    return Table("claims-evidence", title, columns, tuple(rows), (note,), tuple(ruled), folded=True)
