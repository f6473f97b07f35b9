"""Two judges, one question: how far two tables of scores agree, attribute by attribute and in what would be picked.

Rows count that both judges scored. B - A is the bias of the second judge.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gip_exp.errors import UserError
from gip_exp.judgements.scored import Judgements, of_run, read_result
from gip_exp.llm.rubric import HIGHEST, LOWEST
from gip_exp.runs.folder import SELECTED
from gip_exp.storage.files import read_jsonl
from selection.signals import SignalTable, read_signals

TOP = 0.1  # share of the rows in the comparison of the best ones
FAR = 2  # points


@dataclass(frozen=True)
class Side:
    """One of the two: a label, the scores, and the run if it is one.

    Attributes:
        label: name of the judge, or of the file.
        table: the scores.
        run: the run folder; None for a table alone.
        judged: the run's judged pool.
    """

    label: str
    table: SignalTable
    run: Path | None = None
    judged: Judgements | None = None


@dataclass(frozen=True)
class Agreement:
    """How far two judges agree about one attribute, over the rows that both scored.

    Attributes:
        name: of the attribute; "mean" for the mean of all.
        kappa: Cohen's kappa with quadratic weights, of grades rounded to whole numbers; None for the mean, without a
            scale of grades, or if no grade differs.
        spearman: rank correlation; None if one side is constant.
        equal: share of rows with equal scores.
        far: share of rows that differ by two points or more; None without a scale of grades.
        mean_a: mean of the first judge.
        bias: mean of B - A.
    """

    name: str
    kappa: float | None
    spearman: float | None
    equal: float
    far: float | None
    mean_a: float
    bias: float


@dataclass(frozen=True)
class Picks:
    """Overlap of two sets of picks of the same size, or why there is none.

    Attributes:
        what: what was picked, or why nothing can be compared.
        n: rows picked by each; 0 if nothing can be compared.
        both: rows picked by both.
        chance: rows that two random picks of this size share.
    """

    what: str
    n: int = 0
    both: int = 0
    chance: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """The result.

    Attributes:
        labels: of the two judges.
        n: rows that both scored.
        only_a: rows that only the first scored.
        only_b: rows that only the second scored.
        agreements: one per attribute, then the mean.
        picks: the selections of the two runs, and the best rows by the mean.
        changes: ids of the rows whose mean changed most, with both means.
        notes: what limits the comparison.
    """

    labels: tuple[str, str]
    n: int
    only_a: int
    only_b: int
    agreements: tuple[Agreement, ...]
    picks: tuple[Picks, ...]
    changes: tuple[tuple[str, float, float], ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def side(path: Path) -> Side:
    """Read a run folder or a table of scores (parquet). Raises UserError if it is neither."""
    if path.is_dir():
        judged = of_run(path)
        return Side(judged.title, judged.table, path, judged)
    try:
        return Side(path.name, read_signals(path))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is neither a run folder nor a table of scores (scores.parquet of an output of score): {error}"
        ) from error


def compare(a: Side, b: Side, changes: int = 5) -> Comparison:
    """Compare two judges over the rows and attributes that both have.

    Args:
        a: the first judge.
        b: the second.
        changes: number of rows to list whose mean changed most.

    Raises:
        UserError: they share no row or no attribute, or fewer than two rows have scores of both.
    """
    names, ids, notes = _shared(a, b)
    first, second = (side.table.columns(names).aligned(ids) for side in (a, b))
    both = first.scored & second.scored
    if both.sum() < 2:
        raise UserError(
            f"{a.label} and {b.label}: {int(both.sum())} rows have scores of both; two are needed"
        )
    x, y = first.values[both], second.values[both]
    agreements = [_agreement(name, x[:, i], y[:, i]) for i, name in enumerate(names)]
    if any(one.kappa is not None for one in agreements) and ((x % 1).any() or (y % 1).any()):
        notes.append("kappa is of grades rounded to whole numbers, because means of votes are not whole")
    if len(names) > 1:
        agreements.append(replace(_agreement("mean", x.mean(axis=1), y.mean(axis=1)), kappa=None))
    kept = [name for name, shared in zip(ids, both, strict=True) if shared]
    return Comparison(
        labels=(a.label, b.label),
        n=len(kept),
        only_a=int((first.scored & ~second.scored).sum()),
        only_b=int((second.scored & ~first.scored).sum()),
        agreements=tuple(agreements),
        picks=(_selections(a, b), _best(x.mean(axis=1), y.mean(axis=1))),
        changes=_changes(kept, x.mean(axis=1), y.mean(axis=1), changes),
        notes=tuple(notes),
    )


def _shared(a: Side, b: Side) -> tuple[list[str], list[str], list[str]]:
    """Return the attributes and ids that both have, and notes about the others."""
    names = [name for name in a.table.names if name in b.table.names]
    known = set(b.table.ids)
    ids = [name for name in a.table.ids if name in known]
    if not names or not ids:
        what = "attribute" if not names else "row id"
        raise UserError(
            f"{a.label} and {b.label} have no {what} in common: compare judges of the same pool and rubric"
        )
    notes = []
    if lost := sorted({*a.table.names, *b.table.names} - set(names)):
        notes.append(f"attributes of one judge alone are left out: {', '.join(lost)}")
    if others := len(a.table.ids) + len(b.table.ids) - 2 * len(ids):
        notes.append(f"{others:,} rows are in one of the two pools alone and are left out")
    if a.judged and b.judged:
        if a.judged.config and b.judged.config and a.judged.config.rubric != b.judged.config.rubric:
            notes.append("the rubrics differ")
        changed = _other_texts(a.judged, b.judged)
        ids = [name for name in ids if name not in changed]
        if changed:
            notes.append(f"{len(changed):,} rows have other texts under the same id and are left out")
    return names, ids, notes


def _other_texts(a: Judgements, b: Judgements) -> set[str]:
    """Return the ids of rows whose text differs between two pools."""
    texts = {row["id"]: (row["prompt"], row["completion"]) for row in a.pool}
    return {
        row["id"]
        for row in b.pool
        if row["id"] in texts and texts[row["id"]] != (row["prompt"], row["completion"])
    }


def _agreement(name: str, x: np.ndarray, y: np.ndarray) -> Agreement:
    graded = min(x.min(), y.min()) >= LOWEST and max(x.max(), y.max()) <= HIGHEST
    gap = np.abs(y - x)
    return Agreement(
        name,
        kappa=_kappa(x, y) if graded else None,
        spearman=_spearman(x, y),
        equal=float((gap < 1e-9).mean()),
        far=float((gap >= FAR).mean()) if graded else None,
        mean_a=float(x.mean()),
        bias=float((y - x).mean()),
    )


def _kappa(x: np.ndarray, y: np.ndarray) -> float | None:
    from sklearn.metrics import cohen_kappa_score

    a, b = (np.floor(values + 0.5).astype(int) for values in (x, y))  # halves up, for both judges alike
    if len({*a.tolist(), *b.tolist()}) < 2:
        return None
    return float(cohen_kappa_score(a, b, labels=range(LOWEST, HIGHEST + 1), weights="quadratic"))


def _spearman(x: np.ndarray, y: np.ndarray) -> float | None:
    from scipy.stats import spearmanr

    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(spearmanr(x, y).statistic)


def _selections(a: Side, b: Side) -> Picks:
    """Return the overlap of what the two runs selected, if they did so in the same way."""
    if a.run is None or b.run is None:
        return Picks("selections: not compared, a table of scores has none")
    runs = [read_result(run) for run in (a.run, b.run)]
    if missing := [str(run) for run in (a.run, b.run) if not (run / SELECTED).is_file()]:
        return Picks(f"selections: not compared, {missing[0]} stopped before it selected")
    ways: list[Mapping[str, Any]] = [
        {key: run.get(key) for key in ("selector", "budget", "seed")} for run in runs
    ]
    if ways[0] != ways[1]:
        told = " and ".join("{selector} at {budget}, seed {seed}".format(**way) for way in ways)
        return Picks(f"selections: not compared, they were made in different ways: {told}")
    chosen = [{row["id"] for row in read_jsonl(run / SELECTED)} for run in (a.run, b.run)]
    n, pool = len(chosen[0]), runs[0].get("n_pool") or 0
    chance = n * len(chosen[1]) / pool if pool else 0.0
    return Picks(
        "selected by {selector} at {budget}".format(**ways[0]), n, len(chosen[0] & chosen[1]), chance
    )


def _best(x: np.ndarray, y: np.ndarray) -> Picks:
    """Return the overlap of the best rows by the mean score; ties are broken at random, for each judge anew."""
    n, size = len(x), max(1, round(TOP * len(x)))
    random = np.random.default_rng(0)
    best = [set(np.lexsort((random.random(n), -means))[:size].tolist()) for means in (x, y)]
    what = f"best {TOP:.0%} by the mean score, ties at random"
    return Picks(what, size, len(best[0] & best[1]), size * size / n)


def _changes(
    ids: Sequence[str], x: np.ndarray, y: np.ndarray, most: int
) -> tuple[tuple[str, float, float], ...]:
    order = np.argsort(-np.abs(y - x), kind="stable")[:most]
    return tuple((ids[row], float(x[row]), float(y[row])) for row in order if x[row] != y[row])
