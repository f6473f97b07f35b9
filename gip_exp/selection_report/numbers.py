"""Numbers of a subset beside those of the pool and of random subsets of the same size."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gip_exp.artifacts import text_of
from gip_exp.selection_report.geometry import coverage_curve, sample, topic_words
from gip_exp.selection_report.material import Material
from gip_exp.signals.rules.replies import language, mostly_latin

DRAWS = 5  # random subsets
ASKED = 2000  # rows of the pool by which coverage is measured, and rows whose language is looked at
SEED = 0  # of the random subsets and of the samples


@dataclass(frozen=True)
class Measure:
    """A number of the subset, the pool (None if it has none there), and each random subset."""

    name: str
    subset: float
    pool: float | None
    random: tuple[float, ...]
    digits: int = 2

    def as_facts(self) -> dict[str, float | None]:
        """Return the numbers for `result.json`: the random subsets by their mean and extremes."""
        random = [round(value, 6) for value in self.random if not np.isnan(value)]
        return {
            "subset": None if np.isnan(self.subset) else round(self.subset, 6),
            "pool": None if self.pool is None or np.isnan(self.pool) else round(self.pool, 6),
            "random": round(sum(random) / len(random), 6) if random else None,
            "random_low": min(random, default=None),
            "random_high": max(random, default=None),
        }


@dataclass(frozen=True)
class Share:
    """How many rows have a value (a topic, a language, a category): shares of pool, subset and random subsets."""

    name: str
    pool: float
    subset: float
    random: float


@dataclass(frozen=True)
class Curve:
    """A measure of the first c ranked rows against c, and that of random subsets of the same size."""

    name: str
    counts: tuple[int, ...]
    ranked: tuple[float, ...]
    random: tuple[float, ...]


@dataclass(frozen=True)
class Subsets:
    """The subset and the random subsets it is compared with, as positions in the described rows.

    Attributes:
        chosen: (b,) the selection, best first.
        draws: Random subsets of the same size; none if the selection is the whole pool.
        asked: Rows of the pool by which coverage is measured.
    """

    chosen: np.ndarray
    draws: tuple[np.ndarray, ...]
    asked: np.ndarray

    @property
    def random(self) -> np.ndarray:
        """The first random subset."""
        return self.draws[0] if self.draws else self.chosen


def subsets(material: Material) -> Subsets:
    """Draw random subsets of the size of the selection (at most the sample of the pool)."""
    chosen = material.ranked[: material.n_selected]
    asked = material.drawn[sample(len(material.drawn), ASKED, SEED)]
    if len(material.pool) == material.n_selected:
        return Subsets(chosen, (), asked)
    rng = np.random.default_rng(SEED)
    size = min(len(chosen), len(material.drawn))
    return Subsets(chosen, tuple(rng.permutation(material.drawn)[:size] for _ in range(DRAWS)), asked)


def lengths_of(material: Material, part: str) -> np.ndarray:
    """(n,) characters of a text of each row; 0 for none."""
    lengths = pc.fill_null(pc.utf8_length(material.rows.table[part]), 0)
    return np.asarray(lengths.combine_chunks() if isinstance(lengths, pa.ChunkedArray) else lengths)


def measures(
    material: Material, compared: Subsets, topic: np.ndarray, lengths: dict[str, np.ndarray]
) -> tuple[Measure, ...]:
    """Return lengths, mean scores, coverage and topics."""
    chosen, draws = compared.chosen, compared.draws
    subset, pool = material.described[chosen], material.pool
    drawn = [material.described[draw] for draw in draws]
    found = [
        Measure(
            f"median characters of the {part}",
            float(np.median(values[subset])),
            float(np.median(values[pool])),
            tuple(float(np.median(values[rows])) for rows in drawn),
            0,
        )
        for part, values in lengths.items()
    ]
    found += [
        Measure(f"mean {name}", _mean(v[subset]), _mean(v[pool]), tuple(_mean(v[rows]) for rows in drawn), 3)
        for name, v in material.telling.items()
    ]
    coverage = [
        coverage_curve(material.features, rows, [len(rows)], compared.asked)[0] for rows in (chosen, *draws)
    ]
    found.append(Measure("coverage", coverage[0], None, tuple(coverage[1:]), 3))
    known = len(np.unique(topic[material.drawn]))
    covered = [float(len(np.unique(topic[rows]))) for rows in (chosen, *draws)]
    found.append(Measure("topics with a pick", covered[0], float(known), tuple(covered[1:]), 0))
    return tuple(found)


def _mean(values: np.ndarray) -> float:
    scored = values[~np.isnan(values)]
    return float(scored.mean()) if len(scored) else float("nan")


def curves(material: Material, compared: Subsets, topic: np.ndarray) -> tuple[Curve, ...]:
    """Return coverage, topics and mean scores of the first c ranked rows, for up to 16 values of c."""
    ranked = material.ranked
    if len(material.pool) == material.n_selected or len(ranked) < 2:
        return ()
    others = material.drawn[~np.isin(material.drawn, compared.random)]
    longer = np.concatenate([compared.random, np.random.default_rng(SEED).permutation(others)])
    most = min(len(ranked), len(longer))
    spaced = np.geomspace(min(5, most), most, 14).round().astype(int).tolist()
    counts = sorted({*spaced, min(material.n_selected, most)})
    orders = (ranked, longer)

    def curve(name: str, values: Sequence[Sequence[float]]) -> Curve:
        return Curve(name, tuple(counts), tuple(values[0]), tuple(values[1]))

    found = [
        curve(
            "coverage", [coverage_curve(material.features, rows, counts, compared.asked) for rows in orders]
        ),
        curve("topics with a pick", [[len(np.unique(topic[rows[:c]])) for c in counts] for rows in orders]),
    ]
    for name, values in material.telling.items():
        own = values[material.described]
        means = [[_mean(own[rows[:c]]) for c in counts] for rows in orders]
        found.append(curve(f"mean {name}", means))
    return tuple(found)


def topic_names(material: Material, topic: np.ndarray) -> tuple[str, ...]:
    """Name each topic by its words."""
    known = material.drawn[sample(len(material.drawn), ASKED, SEED)]
    texts = [text_of(row) for row in material.rows.take(material.described[known])]
    names = {found.number: ", ".join(found.words) for found in topic_words(texts, topic[known])}
    return tuple(names.get(number) or f"topic {number + 1}" for number in range(int(topic.max()) + 1))


def shares(
    material: Material, compared: Subsets, topic: np.ndarray, names: Sequence[str]
) -> dict[str, tuple[Share, ...]]:
    """Return the shares of topics, languages and the values of the user's columns, most frequent first."""
    chosen, random = compared.chosen, compared.random
    found = {
        "topic": _compared([[names[t] for t in topic[rows]] for rows in (material.drawn, chosen, random)])
    }
    looked = [rows[sample(len(rows), ASKED, SEED)] for rows in (material.drawn, chosen, random)]
    found["language of the reply"] = _compared(
        [[_language(row) for row in material.rows.take(material.described[rows])] for rows in looked]
    )
    for column, values in material.categories.items():
        rows = (material.pool, material.selected, material.described[random])
        found[column] = _compared([[values[row] or "(none)" for row in part] for part in rows])
    return found


def _language(row: Any) -> str:
    reply = row["completion"] or ""
    return (language(reply) or "unclear") if mostly_latin(reply) else "not in Latin script"


def _compared(values: Sequence[Sequence[str]], most: int = 30) -> tuple[Share, ...]:
    """Return the shares of each value in pool, subset and a random subset; the rarest values are one."""
    counts = [Counter(part) for part in values]
    names = [name for name, _ in (counts[0] + counts[1]).most_common()]
    found = [
        Share(name, *(count[name] / max(1, len(part)) for count, part in zip(counts, values, strict=True)))
        for name in names
    ]
    found.sort(key=lambda share: -share.pool)
    kept, rest = found[:most], found[most:]
    if rest:
        sums = (sum(getattr(share, part) for share in rest) for part in ("pool", "subset", "random"))
        kept.append(Share(f"{len(rest):,} more", *sums))
    return tuple(kept)
