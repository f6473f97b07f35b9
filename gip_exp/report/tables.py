"""The report's tables as text: results, subsets, cost."""

import math
from collections.abc import Sequence

from gip_exp.report import names, text
from gip_exp.report.claims import MT_BENCH
from gip_exp.report.document import Column, Table
from gip_exp.report.names import FULL, RANDOM
from gip_exp.report.rows import Comparison, Result, Row
from gip_exp.report.study import Group
from gip_exp.report.subsets import average, costs, stage_seconds
from gip_exp.report.verdicts import OPEN, Verdict

HOW = (
    "Mean over seeds and questions. 95 % intervals: with several seeds a bootstrap over seeds and questions (crossed), "
    "which a few seeds still make too narrow; with one seed Wilson's interval (outcomes 0 and 1) or a bootstrap over "
    "questions, and then nothing is known about other seeds.",
    "SE is the paper's standard error, std/√n over the questions of one run, averaged over seeds: it ignores the seeds.",
    "Differences are paired by (seed, question). p (questions): sign-flip permutation over questions, a question's "
    "seeds together; it speaks about these training runs on other questions. p (seeds): the same over whole training "
    "runs; with s seeds it cannot fall below 2^(1−s). Both are Holm-corrected over all comparisons of their table.",
)


def result_table(result: Result) -> Table:
    """Method x budget with intervals and paired differences."""
    several = any(not math.isnan(c.p_seeds) for row in result.rows for c in row.comparisons)
    unit = "mean, %" if result.proportion else "mean"
    columns = [
        Column("method", "left"),
        Column("budget"),
        Column("seeds"),
        Column(unit),
        Column("95 % interval"),
    ]
    columns.append(Column("SE"))
    for reference in (RANDOM, FULL):
        group = f"vs {names.look(reference).label.lower()}"
        columns += [
            Column("difference", group=group),
            Column("95 %", group=group),
            Column("p (questions)", group=group),
        ]
        columns += [Column("p (seeds)", group=group)] if several else []
    rows = tuple(_result_row(row, result.proportion, several) for row in result.rows)
    ruled = tuple(
        i for i in range(1, len(rows)) if result.rows[i].cell.arm.method != result.rows[i - 1].cell.arm.method
    )
    name = f"{slug(result.group)}-{slugged(result.metric)}"
    title = f"{result.group.title}: {names.metric(result.metric)}"
    return Table(
        name, title, tuple(columns), rows, _result_notes(result), ruled if len(rows) > len(ruled) + 1 else ()
    )


def _result_row(row: Row, proportion: bool, several: bool) -> tuple[str, ...]:
    mean = row.summary.mean
    cells = [
        row.cell.arm.label,
        row.cell.budget_label,
        str(len(row.summary.seeds)),
        text.value(mean.value, proportion),
        text.interval(mean.low, mean.high, proportion),
        text.value(row.summary.error, proportion),
    ]
    for reference in (RANDOM, FULL):
        cells += _comparison_cells(row.against(reference), proportion, several)
    return tuple(cells)


def _comparison_cells(found: Comparison | None, proportion: bool, several: bool) -> list[str]:
    if found is None:
        return [text.NONE] * (4 if several else 3)
    mean = found.difference.mean
    cells = [
        text.signed(mean.value, proportion),
        text.interval(mean.low, mean.high, proportion, sign=True),
        text.p_value(found.p_questions),
    ]
    return [*cells, text.p_value(found.p_seeds)] if several else cells


def _result_notes(result: Result) -> tuple[str, ...]:
    notes = [f"{_questions(result)}; {_seeds(result)}."]
    if names.lower_is_better(result.metric):
        notes.append("Lower is better.")
    dropped = [(row.cell.arm.label, row.summary.dropped) for row in result.rows if row.summary.dropped]
    if dropped:
        listed = ", ".join(f"{label} {number}" for label, number in dropped)
        notes.append(f"Left out because not every seed has an outcome (questions): {listed}.")
    fewer = [
        f"{row.cell.arm.label} {row.cell.budget_label} against {c.reference} on {text.count(len(c.difference.seeds), 'seed')}"
        for row in result.rows
        for c in row.comparisons
        if len(c.difference.seeds) < len(row.summary.seeds)
    ]
    if fewer:
        notes.append(f"Paired on the seeds both have: {'; '.join(fewer)}.")
    return tuple(notes)


def _questions(result: Result) -> str:
    counts = sorted({row.summary.questions for row in result.rows})
    return f"{' to '.join(f'{n:,}' for n in dict.fromkeys((counts[0], counts[-1])))} questions a run"


def _seeds(result: Result) -> str:
    single = [row.cell.arm.label for row in result.rows if len(row.summary.seeds) == 1]
    if len(single) == len(result.rows):
        return "one seed: the intervals cover the questions only, there is no interval over seeds"
    if single:
        return f"one seed only, hence no interval over seeds: {', '.join(dict.fromkeys(single))}"
    return "intervals over seeds and questions"


def subset_table(group: Group) -> Table | None:
    """Clean share and coverage of each subset, where the pool's makers labelled it."""
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
    rows = []
    for cell in cells:
        found = average(cell)
        covered = (
            f"{found['skills_covered']:.3g} of {found['n_skills']:.3g}" if "n_skills" in found else text.NONE
        )
        clean = text.value(found.get("clean_share", math.nan), True)
        entropy = f"{found['skill_entropy']:.2f}" if "skill_entropy" in found else text.NONE
        rows.append(
            (
                cell.arm.label,
                cell.budget_label,
                f"{cell.n_selected:,}",
                str(len(cell.runs)),
                clean,
                covered,
                entropy,
            )
        )
    note = "Means over seeds. Entropy in nats over the clean selected rows; covered: skills with a clean example."
    return Table(
        f"{slug(group)}-subsets",
        f"{group.title}: quality and coverage of the subsets",
        columns,
        tuple(rows),
        (note,),
    )


def cost_tables(group: Group) -> list[Table]:
    """Seconds by stage over the group, and by method for one run that can reuse nothing."""
    stages = costs(group)
    if not stages:
        return []
    rows = [
        (cost.stage, str(cost.used), str(cost.made), text.seconds(cost.each), text.seconds(cost.total))
        for cost in stages
    ]
    rows.append(("together", "", "", "", text.seconds(sum(cost.total for cost in stages))))
    columns = (
        Column("stage", "left"),
        Column("runs that use it"),
        Column("made"),
        Column("seconds each"),
        Column("in all"),
    )
    note = "An output that several runs share is made once and counts once."
    together = Table(
        f"{slug(group)}-stages", f"{group.title}: cost of each stage", columns, tuple(rows), (note,)
    )
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
    note = "Mean over the runs; what one run costs where nothing can be reused."
    return Table(f"{slug(group)}-cost", f"{group.title}: cost of one run", columns, tuple(rows), (note,))


def verdict_table(verdicts: Sequence[Verdict], title: str, name: str) -> Table:
    """A line a claim: statement, where it stands, rule, verdict, and why."""
    columns = (
        Column("claim", "left", wide=True),
        Column("from", "left"),
        Column("holds if", "left", wide=True),
        Column("verdict", "left"),
        Column("because", "left", wide=True),
    )
    rows = tuple((v.claim.statement, v.claim.source, v.claim.rule, v.verdict, v.reason) for v in verdicts)
    return Table(name, title, columns, rows)


def check_table(verdicts: Sequence[Verdict]) -> Table | None:
    """The comparisons behind the verdicts, as far as there are runs; None without any."""
    rows, ruled = [], []
    for verdict in verdicts:
        made = [check for check in verdict.checks if check.why != "missing"]
        ruled += [len(rows)] if made and rows else []
        percent = verdict.claim.measure not in (MT_BENCH, "subset/skill_entropy")
        for check in made:
            bounds = text.interval(check.low, check.high, percent, sign=True)
            state = f"open: {check.why}" if check.state == OPEN else check.state
            shown = text.signed(check.value, percent)
            rows.append((verdict.claim.id, check.model, check.what, str(check.seeds), shown, bounds, state))
    if not rows:
        return None
    columns = (
        *(Column(name, "left") for name in ("claim", "where", "comparison")),
        *(Column(name) for name in ("seeds", "difference", "wider 95 %")),
        Column("", "left"),
    )
    note = (
        "Wider 95 %: the wider bounds of the bootstrap over seeds and questions and Student's t over seeds."
    )
    title = "The comparisons behind the verdicts"
    return Table("claims-evidence", title, columns, tuple(rows), (note,), tuple(ruled), folded=True)


def slug(group: Group) -> str:
    """The group's title as a name for files and anchors."""
    return slugged(group.title)


def slugged(name: str) -> str:
    """Letters, digits and single dashes: safe in a file name, an HTML id and a LaTeX label."""
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
    return "-".join(part for part in kept.split("-") if part)
