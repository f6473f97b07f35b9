"""The result tables as text: method x budget with intervals and paired differences."""

import math
from collections.abc import Sequence

from gip_exp.report import names, text
from gip_exp.report.document import Column, Table
from gip_exp.report.names import FULL, RANDOM, UNTUNED
from gip_exp.report.rows import Comparison, Result, Row

PARTS = 10  # parts of a benchmark in one table; more go into a further table
HOW = (
    "Mean over seeds and questions. 95 % intervals: with several seeds a bootstrap over seeds and "
    "questions (crossed), which is still too narrow with few seeds; with one seed Wilson's interval "
    "(outcomes 0 and 1) or a bootstrap over questions, and then nothing is known about other seeds. "
    "If all outcomes are equal, Wilson's interval over the questions of one run.",
    "SE is the paper's standard error, std/√n over the questions of one run, averaged over seeds. It "
    "ignores differences between seeds.",
    "Differences are paired by (seed, question). p (questions): sign-flip permutation over questions, the "
    "seeds of a question together; it concerns these training runs on other questions. p (seeds): the "
    "same over whole training runs; with s seeds it cannot fall below 2^(1−s). Both are Holm-corrected "
    "over all comparisons of their table.",
)


def result_table(result: Result) -> Table:
    """Return the table of one metric: method x budget with intervals and paired differences."""
    several = any(not math.isnan(c.p_seeds) for row in result.rows for c in row.comparisons)
    unit = "mean, %" if result.proportion else "mean"
    columns = [
        Column("method", "left"),
        Column("budget"),
        Column("seeds"),
        Column("tokens trained"),
        Column("words a row"),
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
    name = f"{result.group.slug}-{text.slugged(result.metric)}"
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
        _whole(row.cell.mean_of(lambda run: run.trained_tokens)),
        _whole(row.cell.mean_of(lambda run: run.mean_words)),
        text.value(mean.value, proportion),
        text.interval(mean.low, mean.high, proportion),
        text.value(row.summary.error, proportion),
    ]
    for reference in (RANDOM, FULL):
        cells += _comparison_cells(row.against(reference), proportion, several)
    return tuple(cells)


def _whole(number: float) -> str:
    return text.NONE if math.isnan(number) else f"{number:,.0f}"


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
    if training := _training(result):
        notes.append(training)
    if fewer_random := _fewer_random(result):
        notes.append(fewer_random)
    if not any(row.cell.arm.method == UNTUNED for row in result.rows):
        notes.append(
            "No row for the model before fine-tuning: no run evaluated it (untuned=false, or train=none is missing)."
        )
    if names.lower_is_better(result.metric):
        notes.append("Lower is better.")
    dropped = [(row.cell.arm.label, row.summary.dropped) for row in result.rows if row.summary.dropped]
    if dropped:
        listed = ", ".join(f"{label} {number}" for label, number in dropped)
        notes.append(f"Left out because not every seed has an outcome (questions): {listed}.")
    fewer = [
        f"{row.cell.arm.label} {row.cell.budget_label} against {found.reference} on {_seed_count(found)}"
        for row in result.rows
        for found in row.comparisons
        if len(found.difference.seeds) < len(row.summary.seeds)
    ]
    if fewer:
        notes.append(f"Paired on the seeds that both have: {'; '.join(fewer)}.")
    return tuple(notes)


def _training(result: Result) -> str:
    """Return which arms train alike: for the same number of steps, or of epochs; "" if the runs do not say."""
    runs = [run for row in result.rows for run in row.cell.all_runs() if run.tuned]
    said = {(run.settings.get("train.epochs"), run.settings.get("train.steps")) for run in runs}
    steps = [run.trained_steps for run in runs if run.trained_steps is not None]
    if len(said) != 1 or not steps:
        return ""
    ((epochs, fixed),) = said
    if fixed is not None:
        return f"Equal steps: every arm trains for {fixed:,} steps (train.steps), so a smaller subset is repeated more often."
    if epochs is None:
        return ""
    spread = (
        f"{min(steps):,.0f} to {max(steps):,.0f} steps"
        if min(steps) < max(steps)
        else f"{steps[0]:,.0f} steps"
    )
    return f"Equal epochs: every arm trains for {epochs:g} epochs (train.epochs) of its subset, {spread}."


def _fewer_random(result: Result) -> str:
    """Return a warning if random selection has fewer seeds than a method of its budget; "" if not."""
    found = []
    for row in result.rows:
        random = result.group.find(RANDOM, row.cell.size)
        other = result.row(random) if random else None
        if (
            other
            and len(other.summary.seeds) < len(row.summary.seeds)
            and row.cell.arm.method not in (FULL, UNTUNED)
        ):
            found.append(
                f"{row.cell.arm.label} {row.cell.budget_label}: {len(row.summary.seeds)} for {len(other.summary.seeds)}"
            )
    return (
        f"Random has fewer seeds than other methods, so its interval is too narrow ({'; '.join(found)})."
        if found
        else ""
    )


def _seed_count(found: Comparison) -> str:
    return text.count(len(found.difference.seeds), "seed")


def _questions(result: Result) -> str:
    counts = sorted({row.summary.questions for row in result.rows})
    return f"{' to '.join(f'{n:,}' for n in dict.fromkeys((counts[0], counts[-1])))} questions per run"


def _seeds(result: Result) -> str:
    single = [row.cell.arm.label for row in result.rows if len(row.summary.seeds) == 1]
    if len(single) == len(result.rows):
        return "one seed: intervals cover questions only, not seeds"
    if single:
        return f"one seed only, so no interval over seeds: {', '.join(dict.fromkeys(single))}"
    return "intervals over seeds and questions"


def part_tables(results: Sequence[Result]) -> list[Table]:
    """Return the means of a benchmark's parts (MT-Bench's categories, BBH's tasks), one line per cell."""
    tables = []
    for benchmark in dict.fromkeys(r.metric.partition("/")[0] for r in results if names.is_part(r.metric)):
        parts = [r for r in results if r.metric.startswith(f"{benchmark}/") and names.is_part(r.metric)]
        tables += [_part_table(parts[i : i + PARTS], benchmark) for i in range(0, len(parts), PARTS)]
    return tables


def _mean(result: Result, row: Row | None) -> str:
    return text.value(row.summary.mean.value, result.proportion) if row else text.NONE


def _part_table(parts: Sequence[Result], benchmark: str) -> Table:
    group = parts[0].group
    columns = [Column("method", "left"), Column("budget"), Column("seeds")]
    columns += [Column(names.part(result.metric)) for result in parts]
    rows = []
    for cell in group.cells:
        found = [result.row(cell) for result in parts]
        if any(found):
            means = [_mean(result, row) for result, row in zip(parts, found, strict=True)]
            rows.append((cell.arm.label, cell.budget_label, str(len(cell.runs)), *means))
    title = f"{group.title}: {names.metric(f'{benchmark}/all')} by part{', %' if parts[0].proportion else ''}"
    note = "Means; intervals and paired differences of every part are in report.csv."
    name = f"{group.slug}-{text.slugged(parts[0].metric)}-parts"
    return Table(name, title, tuple(columns), tuple(rows), (note,))
