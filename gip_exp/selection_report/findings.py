"""What the selection report says of a selection, as data."""

from dataclasses import dataclass

import numpy as np

from gip_exp.selection_report import numbers
from gip_exp.selection_report.geometry import nearest_picks, on_a_map, topics, unit
from gip_exp.selection_report.material import Material
from gip_exp.selection_report.numbers import Curve, Measure, Share

NEAR = 0.95  # cosine from which a row is a near-copy of a pick
SHOWN = 5  # rows shown as text: first, last, narrowly missed
MOST = 0.75  # share of the pool from which being above or below it stands out
TOLD = 2  # scores named in the sentence that explains a row
TOPIC_ROWS = 400  # a topic for so many rows of the pool, within 8 to 30


@dataclass(frozen=True)
class Shown:
    """A row shown as text, with the sentence that explains its place."""

    rank: int
    row: int
    why: str


@dataclass(frozen=True)
class Findings:
    """Everything that page, Markdown and table need besides the material.

    Arrays are over the described rows (m,): `topic`, `place` (m, 2), `nearest` (position in the ranking of the most
    similar selected row, -1 without one) and its `cosine`.
    """

    measures: tuple[Measure, ...]
    curves: tuple[Curve, ...]
    shares: dict[str, tuple[Share, ...]]
    shown: dict[str, tuple[Shown, ...]]
    topic: np.ndarray
    topic_names: tuple[str, ...]
    place: np.ndarray
    nearest: np.ndarray
    cosine: np.ndarray
    lengths: dict[str, np.ndarray]


def find(material: Material) -> Findings:
    """Measure the selection."""
    compared = numbers.subsets(material)
    count = int(np.clip(len(material.drawn) // TOPIC_ROWS, 8, 30))
    topic = topics(material.features, count, numbers.SEED)
    names = numbers.topic_names(material, topic)
    lengths = {part: numbers.lengths_of(material, part) for part in ("prompt", "completion")}
    if len(compared.chosen) == len(material.described):
        nearest, cosine = np.full(len(topic), -1), np.full(len(topic), np.nan, dtype=np.float32)
    else:
        nearest, cosine = nearest_picks(material.features, compared.chosen)
    return Findings(
        measures=numbers.measures(material, compared, topic, lengths),
        curves=numbers.curves(material, compared, topic),
        shares=numbers.shares(material, compared, topic, names),
        shown=_shown(material),
        topic=topic,
        topic_names=names,
        place=on_a_map(material.features, numbers.SEED),
        nearest=nearest,
        cosine=cosine,
        lengths=lengths,
    )


def near_copies(material: Material, found: Findings) -> list[tuple[int, int, float]]:
    """Return (row, row of the pick, cosine) of unselected rows that are near-copies of a pick, most similar first."""
    picked = np.zeros(len(found.cosine), dtype=bool)
    picked[material.ranked[: material.n_selected]] = True
    with np.errstate(invalid="ignore"):
        alike = np.flatnonzero(~picked & (found.cosine >= NEAR))
    alike = alike[np.argsort(-found.cosine[alike], kind="stable")]
    return [
        (int(material.described[at]), int(material.order[found.nearest[at]]), float(found.cosine[at]))
        for at in alike
    ]


def _shown(material: Material) -> dict[str, tuple[Shown, ...]]:
    """Return the first and last selected rows, and the first that the budget left out, each with its reason."""
    b = material.n_selected
    first = range(min(SHOWN, b))
    last = range(max(len(first), b - SHOWN), b)
    missed = range(b, min(b + SHOWN, len(material.order)))
    parts = {"first": first, "last": last, "narrowly missed": missed}
    return {
        name: tuple(Shown(at + 1, int(material.order[at]), explain(material, at)) for at in places)
        for name, places in parts.items()
        if places
    }


def explain(material: Material, at: int) -> str:
    """Explain the place of the row ranked `at` (from 0) in one sentence, by what the selector saw.

    That is its gain, the most similar row before it, and at most two of its scores that stand out in the pool.
    """
    parts = []
    if material.gains.any():
        first = f" (the first pick's: {material.gains[0]:.4g})" if at else ""
        parts.append(f"gain {material.gains[at]:.4g}{first}")
    if material.by_features and 0 < at < len(material.ranked):
        before = material.ranked[:at]
        cosines = unit(material.features[before]) @ unit(material.features[material.ranked[at]][None])[0]
        best = int(cosines.argmax())
        parts.append(
            f"the most similar row before it is rank {best + 1}, with a cosine of {cosines[best]:.2f}"
        )
    parts += _standing_out(material, int(material.order[at]))
    sentence = "; ".join(parts) or "the selector gives no reason for a single row"
    return f"{sentence[0].upper()}{sentence[1:]}."


def _standing_out(material: Material, row: int) -> list[str]:
    """Describe the scores of the selector in which most rows of the pool are below the row, or most are above it."""
    found = []
    for name in (name for name in material.telling if name in material.signal):
        values = material.telling[name]
        known = values[material.pool]
        known = known[~np.isnan(known)]
        if np.isnan(values[row]) or not len(known):
            continue
        sides = {"higher": (known < values[row]).mean(), "lower": (known > values[row]).mean()}
        side = max(sides, key=lambda word: sides[word])
        found.append(
            (sides[side], f"{name} {values[row]:.3g} ({side} than {100 * sides[side]:.0f} % of the pool)")
        )
    best = sorted((one for one in found if one[0] >= MOST), key=lambda one: -one[0])[:TOLD]
    if best:
        return ["it stands out by " + " and ".join(text for _, text in best)]
    return ["its scores are like those of most rows"] if found else []
