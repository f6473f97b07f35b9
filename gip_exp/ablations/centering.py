"""`centering`: centred against uncentred embeddings, and the effect of standardised scores, over ridges.

Embeddings share a common direction. Without centring, the first picks explain it for all rows, residuals become
negative, and the squared gain then follows noise. `ablation.scores=synthetic` replaces the judge's attributes by
seeded ones from 1 to 5 that are independent of the embeddings.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from pydantic import Field as Key

from gip_exp.ablations import draw
from gip_exp.ablations.compose import Setup
from gip_exp.ablations.exhaustive import prepared
from gip_exp.ablations.findings import Field, Findings, Picture, Sheet
from gip_exp.ablations.material import Material
from gip_exp.ablations.measures import coverage, jaccard, mean_cosine, quality, unit
from gip_exp.ablations.methods import choose, gip
from gip_exp.config.base import NonNegative, Positive, Section, Seed
from gip_exp.config.selector import GipSelector
from gip_exp.plotting import styled
from gip_exp.report.figures.style import mark
from gip_exp.report.names import look


class Settings(Section):
    """`ablation.ridges` for every variant; `scores`: those of the judge, or `synthetic` ones drawn with `seed`."""

    ridges: list[NonNegative] = Key([0, 0.1, 1], min_length=1)
    scores: Literal["judge", "synthetic"] = "judge"
    attributes: Positive = 4  # of the synthetic scores
    seed: int = 0
    seeds: list[Seed] = Key([0, 1, 2, 3, 4], min_length=1)  # of random


@dataclass(frozen=True)
class Variant:
    """A rule of the table.

    Attributes:
        label: name in the table.
        method: greedy rule.
        center: whether embeddings are centred.
        standardised: whether scores have mean 0 and standard deviation 1.
        positive: whether only positive correlations count in the gain.
    """

    label: str
    method: str = "mp"
    center: bool = False
    standardised: bool = False
    positive: bool = False


VARIANTS = (
    Variant("mp, not centred"),
    Variant("mp, not centred, scores standardised", standardised=True),
    Variant("mp, not centred, positive correlations only", positive=True),
    Variant("mp, centred", center=True),
    Variant("mp, centred, scores standardised", center=True, standardised=True),
    Variant("omp, not centred", method="omp"),
    Variant("omp, centred", method="omp", center=True),
)
FIELDS = (
    Field("rule", "rule"),
    Field("ridge", "ridge"),
    Field("quality", "quality", 4),
    Field("share", "share", 3),
    Field("coverage", "coverage", 4),
    Field("top", "IoU top score", 3),
    Field("rounds", "rounds"),
)


def run(setup: Setup) -> Findings:
    """Measure every variant at every ridge; return the table and its figure."""
    rule, settings = setup.selector, setup.settings
    material = setup.material()
    if settings.scores == "synthetic":
        material = replace(
            material,
            scores=synthetic_scores(len(material), settings.attributes, settings.seed),
            attributes=tuple(f"synthetic {i + 1}" for i in range(settings.attributes)),
            judge="seeded, independent of the embeddings",
        )
    rows = table(material, rule, settings)
    shared = mean_cosine(unit(material.features))
    notes = (
        material.describe(),
        f"Mean cosine between rows, not centred: {shared:.3f}. quality: mean attribute of the subset; share: position "
        "between random (0) and top score (1); coverage: mean over the pool of the best cosine to the subset.",
    )
    slug = f"centering-{settings.scores}"
    sheet = Sheet(slug, f"Centring ({settings.scores} scores)", FIELDS, tuple(rows), notes)
    picture = Picture(
        slug, "Quality of the subset against the ridge: embeddings centred or not.", figure(rows)
    )
    return Findings("Ablation: centering", (sheet,), (picture,))


def synthetic_scores(n: int, attributes: int, seed: int) -> np.ndarray:
    """Return (n, attributes) whole numbers from 1 to 5 around one latent quality per row, as judges give them."""
    generator = np.random.default_rng(seed)
    latent = generator.normal(3.27, 0.94, size=(n, 1))
    noise = generator.normal(0, 0.65, size=(n, attributes))
    return np.clip(np.rint(latent + noise), 1, 5)


def standardised(scores: np.ndarray) -> np.ndarray:
    """Return columns with mean 0 and standard deviation 1."""
    return (scores - scores.mean(axis=0)) / scores.std(axis=0)


def table(material: Material, rule: GipSelector, settings: Settings) -> list[dict[str, Any]]:
    """Return rows for random, top score, then every variant at every ridge it supports."""
    features, scores, budget = material.features, material.scores, material.budget
    units = unit(features)
    top = choose("top_score", features, scores, budget, rule=rule)
    drawn = [choose("random", features, scores, budget, rule=rule, seed=seed) for seed in settings.seeds]
    low = float(np.mean([quality(scores, picks) for picks in drawn]))
    high = quality(scores, top)

    def measured(label: str, picks: np.ndarray, **more: Any) -> dict[str, Any]:
        reached = quality(scores, picks)
        share = (reached - low) / (high - low) if high > low else None
        overlap = jaccard(picks, top)
        return {
            "rule": label,
            "quality": reached,
            "share": share,
            "coverage": coverage(units, picks),
            "top": overlap,
            **more,
        }

    several = [measured("random", picks) for picks in drawn]
    means = {key: float(np.mean([row[key] for row in several])) for key in ("quality", "coverage", "top")}
    rows = [{"rule": "random", **means, "share": 0.0}, measured("top score", top)]
    for variant in VARIANTS:
        for ridge in settings.ridges:
            if ridge == 0 and variant.method != "mp":
                continue  # no query has these scores as its correlations
            picks, rounds = _select(variant, material, rule, ridge)
            rows.append(measured(variant.label, picks, ridge=ridge, rounds=rounds))
    return rows


def _select(variant: Variant, material: Material, rule: GipSelector, ridge: float) -> tuple[np.ndarray, int]:
    """Return (picks, number of rounds)."""
    if variant.positive:
        picks = positive_pursuit(
            prepared(material.features, center=variant.center, normalize=rule.normalize),
            material.scores / np.sqrt(np.square(material.scores).mean(axis=0)),
            material.budget,
            ridge=ridge,
            tol=rule.tol,
        )
        return picks, 1
    scores = standardised(material.scores) if variant.standardised else material.scores
    found = gip(
        material.features,
        scores,
        material.budget,
        rule,
        method=variant.method,
        center=variant.center,
        ridge=ridge,
    )
    return found.indices, len(found.rounds)


def positive_pursuit(
    rows: np.ndarray, scores: np.ndarray, budget: int, *, ridge: float, tol: float
) -> np.ndarray:
    """Select by mp with gain_i = |max(c_i, 0)|^2 / K_ii, a plain loop for this table only.

    A new round starts when no gain is above tol times the first gain of the round.

    Args:
        rows: (n, d) prepared embeddings.
        scores: (n, k) prepared scores.
        budget: number of picks.
        ridge: lam >= 0.
        tol: see above.

    Returns:
        (budget,) row numbers in pick order.
    """
    rows = np.asarray(rows, dtype=np.float32)
    diagonal = np.square(rows, dtype=np.float64).sum(axis=1) + ridge
    residual, free = scores.copy(), np.ones(len(rows), dtype=bool)
    picks: list[int] = []
    first = None
    while len(picks) < budget:
        gain = np.where(free, np.square(np.maximum(residual, 0)).sum(axis=1) / diagonal, -1.0)
        best = int(gain.argmax())
        if first is not None and gain[best] <= tol * first:
            residual, first = scores.copy(), None
            continue
        first = first or gain[best]
        picks.append(best)
        free[best] = False
        column = (rows @ rows[best]).astype(np.float64)
        column[best] += ridge
        residual = residual - np.outer(column, residual[best] / diagonal[best])
    return np.array(picks)


def figure(rows: Sequence[dict[str, Any]]) -> Figure:
    """Draw quality and coverage side by side, one line per rule and ridge, with random and top score as levels."""
    with styled():
        drawing = Figure(figsize=(6.8, 0.17 * len(rows) + 0.7))
        left, right = drawing.subplots(1, 2, sharey=True, width_ratios=(1, 1))
        for position, row in enumerate(rows):
            style = mark(look(_method(row["rule"]))) | {"linestyle": "none", "markersize": 5}
            if "not centred" in row["rule"]:
                style |= {
                    "markerfacecolor": "white",
                    "markeredgecolor": style["color"],
                    "markeredgewidth": 1.1,
                }
            left.plot(row["quality"], position, **style)
            right.plot(row["coverage"], position, **style)
        labels = [f"{row['rule']}, ridge {row['ridge']:g}" if "ridge" in row else row["rule"] for row in rows]
        left.set_yticks(range(len(rows)), labels, fontsize=7)
        left.invert_yaxis()
        for axes, label in ((left, "quality: mean attribute"), (right, "coverage: mean best cosine")):
            draw.tidy(axes, label, "")
            axes.axvline(rows[0]["quality" if axes is left else "coverage"], **draw.FAINT_LINE)
        left.axvline(rows[1]["quality"], **draw.FAINT_LINE)
        return drawing


def _method(label: str) -> str:
    """Return the selector whose colour a rule of the table takes."""
    return {"random": "random", "top score": "top_score"}.get(label, f"{label.split(',', maxsplit=1)[0]}_ma")
