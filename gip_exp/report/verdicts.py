"""Decide the claims from the available runs: holds, fails, undecided (and why), not run."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gip_exp.report import names
from gip_exp.report.claims import CLAIMS, MIN_POOLS, MIN_SEEDS, Claim
from gip_exp.report.compare import student
from gip_exp.report.names import FULL, RANDOM, look
from gip_exp.report.rows import paired
from gip_exp.report.study import Cell, Group

HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "fails", "undecided", "not run"
YES, NO, OPEN = "yes", "no", "open"
NEAR = 0.02  # relative: a budget counts as the claim's if its share of the pool is this close
SUBSET = "subset/"


@dataclass(frozen=True)
class Check:
    """One comparison of a claim.

    Attributes:
        what: the comparison in words.
        model: model, or title of the group.
        state: yes, no or open.
        why: reason of an open one: `few seeds`, `missing` or `wide`.
        value: the paired difference, positive if the method is better; NaN if missing.
        low: the wider lower bound.
        high: the wider upper bound.
        seeds: shared seeds; of `linear`, the timed selections.
        flips: (seed, question) pairs on which the method is better, and worse; None for other numbers.
    """

    what: str
    model: str
    state: str
    why: str = ""
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    seeds: int = 0
    flips: tuple[int, int] | None = None


@dataclass(frozen=True)
class Verdict:
    """A claim's verdict with the checks behind it."""

    claim: Claim
    verdict: str
    reason: str
    checks: tuple[Check, ...]

    def count(self, state: str) -> int:
        """Return the number of checks in a state."""
        return sum(check.state == state for check in self.checks)


def decide_all(groups: Sequence[Group]) -> list[Verdict]:
    """Return a verdict for every claim of the paper, about the paper's models and budgets."""
    return [decide(claim, groups) for claim in CLAIMS]


def elsewhere(groups: Sequence[Group]) -> list[Verdict]:
    """Apply the same rules to models and budgets outside the claims: no evidence about the paper."""
    others = []
    for claim in CLAIMS:
        if claim.models:
            rest = [group for group in groups if group.model not in claim.models and _has(group, claim)]
            if rest:
                # All experiments and budgets of the runs; the rule itself is unchanged.
                wide = replace(claim, models=(), budgets=(), experiments=("",))
                others.append(replace(decide(wide, rest), claim=claim))
    return [verdict for verdict in others if verdict.verdict != NOT_RUN]


def decide(claim: Claim, groups: Sequence[Group]) -> Verdict:
    """Check every comparison of the claim, and combine the checks."""
    checks = tuple(_time_checks(claim, groups) if claim.test == "linear" else _checks(claim, groups))
    return Verdict(claim, *_combine(claim, checks), checks)


def _combine(claim: Claim, checks: Sequence[Check]) -> tuple[str, str]:
    """Return (verdict, reason): holds if enough are yes, fails if the open ones cannot change that, else undecided."""
    if not checks or all(check.why == "missing" for check in checks):
        return NOT_RUN, "no such runs"
    yes = sum(check.state == YES for check in checks)
    possible = yes + sum(check.state == OPEN for check in checks)
    needed = claim.share * len(checks)
    tally = f"{yes} of {len(checks)} yes, {len(checks) - possible} no, {possible - yes} open"
    if yes >= needed:
        return HOLDS, tally
    if possible < needed:
        return FAILS, tally
    reasons = {check.why for check in checks if check.state == OPEN}
    texts = [text for why, text in REASONS.items() if why in reasons]
    return UNDECIDED, f"{'; '.join(texts)} ({tally})"


REASONS = {
    "few seeds": f"too few seeds (at least {MIN_SEEDS} are needed)",
    "missing": "not all comparisons were run",
    "few pools": f"too few sizes of pools (at least {MIN_POOLS} are needed, with the same number of picks)",
    "wide": "intervals too wide; more seeds would narrow them",
}


def _checks(claim: Claim, groups: Sequence[Group]) -> Iterator[Check]:
    models = claim.models or tuple(dict.fromkeys(group.model for group in groups))
    for model in models:
        for experiment in claim.experiments:
            fitting = [g for g in groups if g.model == model and _has(g, claim) and _named(g, experiment)]
            for group in fitting:
                yield from _group_checks(claim, group)
            if not fitting and claim.models:
                place = f"{names.model(model)}{f', {experiment}' if experiment else ''}"
                for budget in claim.budgets:
                    for what in _pairs(claim):
                        yield Check(f"{what} at {100 * budget:.3g} %", place, OPEN, "missing")


def _named(group: Group, experiment: str) -> bool:
    return experiment in ("", group.experiment)


def _has(group: Group, claim: Claim) -> bool:
    if claim.measure.startswith(SUBSET):
        name = claim.measure.removeprefix(SUBSET)
        return any(name in run.subset for cell in group.selecting() for run in cell.all_runs())
    return bool(_metrics(group, claim))


def _metrics(group: Group, claim: Claim) -> list[str]:
    return [metric for metric in group.metrics if metric.partition(" [")[0] == claim.measure]


def _pairs(claim: Claim) -> list[str]:
    return [_against(method, reference) for method in claim.methods for reference in claim.references]


def _against(method: str, reference: str) -> str:
    name = look(reference).label
    return f"{look(method).label} against {name.lower() if reference in (RANDOM, FULL) else name}"


def _group_checks(claim: Claim, group: Group) -> Iterator[Check]:
    """Yield a check for every budget, method, reference (and metric, with several evaluation settings) of a group."""
    measures = [claim.measure] if claim.measure.startswith(SUBSET) else _metrics(group, claim)
    for budget in claim.budgets or group.budgets:
        for measure in measures:
            for method in claim.methods:
                for reference in claim.references:
                    what = f"{_against(method, reference)} at {100 * budget:.3g} %"
                    note = measure.partition(" [")[2]
                    what += f" [{note}" if note else ""
                    cell = _find(group, method, budget)
                    other = group.find(FULL) if reference == FULL else _find(group, reference, budget)
                    yield _check(claim, measure, cell, other, what=what, place=group.title)


def _find(group: Group, method: str, budget: float) -> Cell | None:
    cells = [c for c in group.selecting() if c.arm.method == method and abs(c.share / budget - 1) < NEAR]
    return max(cells, key=lambda cell: len(cell.runs), default=None)


def _check(
    claim: Claim, measure: str, cell: Cell | None, other: Cell | None, *, what: str, place: str
) -> Check:
    gap = _gap(measure, cell, other) if cell and other else None
    if gap is None:
        return Check(what, place, OPEN, "missing")
    value, low, high, seeds = gap
    if names.lower_is_better(measure):
        value, low, high = -value, -high, -low
    if seeds < MIN_SEEDS or math.isnan(low):
        return Check(what, place, OPEN, "few seeds", value, low, high, seeds, _flips(measure, cell, other))
    state = state_of(claim, low, high)
    why = "wide" if state == OPEN else ""
    return Check(what, place, state, why, value, low, high, seeds, _flips(measure, cell, other))


def _flips(measure: str, cell: Cell | None, other: Cell | None) -> tuple[int, int] | None:
    """Return on how many (seed, question) pairs `cell` is better, and worse, than `other`."""
    found = paired(cell, other, measure) if cell and other and not measure.startswith(SUBSET) else None
    if found is None:
        return None
    ours, theirs = found.outcomes
    more = sum(ours[pair] > theirs[pair] for pair in ours)
    less = sum(ours[pair] < theirs[pair] for pair in ours)
    return (less, more) if names.lower_is_better(measure) else (more, less)


def state_of(claim: Claim, low: float, high: float) -> str:
    """Return yes, no or open for one comparison, by the claim's test and margin."""
    if claim.test == "equivalent":
        if low > -claim.margin and high < claim.margin:
            return YES
        return NO if low > claim.margin or high < -claim.margin else OPEN
    if claim.test == "linear":
        return YES if high < 1 + claim.margin else NO if low > 1 + claim.margin else OPEN
    wanted, ruled_out = (0.0, claim.margin) if claim.test == "better" else (-claim.margin, -claim.margin)
    if low > wanted:
        return YES
    return NO if high < ruled_out else OPEN


def _time_checks(claim: Claim, groups: Sequence[Group]) -> Iterator[Check]:
    """Yield a check for every method and number of picks from pools of several sizes: how seconds of `rank` grow."""
    for method in claim.methods:
        points: dict[int, list[tuple[int, float]]] = {}
        for cell in (cell for group in groups for cell in group.selecting() if cell.arm.method == method):
            made = {run.stages["rank"]["key"]: run for run in cell.all_runs() if "rank" in run.stages}
            points.setdefault(cell.n_selected, []).extend(
                (cell.n_pool, seconds)
                for run in made.values()
                if (seconds := run.stages["rank"]["seconds"]) > 0
            )
        for picks, found in sorted(points.items()):
            if len({n for n, _ in found}) > 1:
                yield _time_check(claim, f"{look(method).label}, {picks:,} picks", found)


def _time_check(claim: Claim, what: str, points: Sequence[tuple[int, float]]) -> Check:
    from scipy.stats import linregress, t

    pools = sorted({n for n, _ in points})
    place = ", ".join(f"{n:,}" for n in pools) + " rows"
    if len(pools) < MIN_POOLS:
        return Check(what, place, OPEN, "few pools")
    line = linregress(*np.log(np.array(points, dtype=float)).T)
    width = float(t.ppf(0.975, len(points) - 2)) * line.stderr
    value, low, high = float(line.slope), float(line.slope - width), float(line.slope + width)
    state = state_of(claim, low, high)
    return Check(what, place, state, "wide" if state == OPEN else "", value, low, high, len(points))


def _gap(measure: str, cell: Cell, other: Cell) -> tuple[float, float, float, int] | None:
    """Return (difference, low, high, shared seeds): of a metric over questions, of a subset's number over seeds."""
    if not measure.startswith(SUBSET):
        found = paired(cell, other, measure)
        return None if found is None else (found.mean.value, *found.cautious, len(found.seeds))
    name = measure.removeprefix(SUBSET)
    ours, theirs = (_subset_numbers(one, name) for one in (cell, other))
    gaps = [ours[seed] - theirs[seed] for seed in sorted(set(ours) & set(theirs))]
    return (float(np.mean(gaps)), *student(gaps), len(gaps)) if gaps else None


def _subset_numbers(cell: Cell, name: str) -> dict[int, float]:
    return {seed: float(runs[0].subset[name]) for seed, runs in cell.runs.items() if name in runs[0].subset}
