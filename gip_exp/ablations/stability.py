"""`stability`: overlap of a selection with itself under seeds, small perturbations and left-out rows.

Intersection over union of the picks before and after
    seed      another seed for random methods, and another order of the pool's rows (ties go to the lowest);
    scores    noise on the scores, in standard deviations of the attribute;
    features  noise on the embeddings, as a share of the mean length of rows;
    rows      keeping a share of the rows only: the picks among them against the earlier picks among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from pydantic import Field as Key

from gip_exp.ablations import draw
from gip_exp.ablations.compose import Setup
from gip_exp.ablations.findings import Field, Findings, Picture, Sheet
from gip_exp.ablations.material import Material
from gip_exp.ablations.measures import chance, jaccard, quality
from gip_exp.ablations.methods import choose
from gip_exp.config.base import NonNegative, Section, Seed, Share
from gip_exp.config.selector import GipSelector
from gip_exp.plotting import FAINT, styled

METHODS = ("mp_ma", "omp_ma", "mp_sc", "top_score", "gate_random", "random")
BLIND = {
    "scores": ("mp_sc", "random"),
    "features": ("top_score", "gate_random", "random"),
}  # do not depend on it
AXES = {
    "scores": "score noise (deviations)",
    "features": "embedding noise (share of length)",
    "rows": "share of rows kept",
}


class Settings(Section):
    """Levels of each perturbation, repeated over `ablation.seeds`."""

    scores: list[NonNegative] = Key([0.01, 0.03, 0.1, 0.3, 1], min_length=1)
    features: list[NonNegative] = Key([0.01, 0.03, 0.1, 0.3, 1], min_length=1)
    rows: list[Share] = Key([0.99, 0.95, 0.9, 0.8, 0.5], min_length=1)
    seeds: list[Seed] = Key([1, 2, 3], min_length=1)


FIELDS = (
    Field("kind", "what changes"),
    Field("level", "level"),
    Field("method", "method"),
    Field("overlap", "IoU", 3),
    Field("low", "lowest", 3),
    Field("high", "highest", 3),
    Field("quality", "quality", 4),
    Field("quality_sd", "sd", 4),
)


def run(setup: Setup) -> Findings:
    """Measure every method under every perturbation and level; return the table and its figure."""
    rule, settings = setup.selector, setup.settings
    material = setup.material()
    rows = table(material, rule, settings)
    at_random = chance(len(material), material.budget)
    notes = (
        material.describe(),
        f"IoU: intersection over union of the picks before and after, mean over {len(settings.seeds)} seeds; two random "
        f"subsets: {at_random:.3f}. The seed of random methods changes in the first block only. quality: mean attribute of "
        "the picks after, by the original scores; sd: over seeds.",
    )
    sheet = Sheet("stability", "Stability of the selection", FIELDS, tuple(rows), notes)
    caption = (
        "Overlap of a selection with itself, before and after a perturbation. Dotted: two random subsets."
    )
    return Findings(
        "Ablation: stability", (sheet,), (Picture("stability", caption, figure(rows, at_random)),)
    )


def table(material: Material, rule: GipSelector, settings: Settings) -> list[dict[str, Any]]:
    """Return one row per perturbation, level and method: overlap over seeds."""
    cases = [("seed", None)]
    cases += [(kind, level) for kind in AXES for level in getattr(settings, kind)]
    before = {
        method: choose(method, material.features, material.scores, material.budget, rule=rule)
        for method in METHODS
    }
    rows = []
    for kind, level in cases:
        for method in [name for name in METHODS if name not in BLIND.get(kind, ())]:
            found = [
                perturbed(
                    material, rule, method=method, before=before[method], kind=kind, level=level, seed=seed
                )
                for seed in settings.seeds
            ]
            overlaps = [jaccard(pair.before, pair.after) for pair in found]
            qualities = [quality(material.scores, pair.after) for pair in found]
            rows.append(
                {
                    "kind": kind,
                    "level": level,
                    "method": method,
                    "overlap": float(np.mean(overlaps)),
                    "low": min(overlaps),
                    "high": max(overlaps),
                    "quality": float(np.mean(qualities)),
                    "quality_sd": float(np.std(qualities)),
                }
            )
    return rows


@dataclass(frozen=True, eq=False)
class Pair:
    """Picks before and after a perturbation, on the rows that both could pick."""

    before: np.ndarray
    after: np.ndarray


def perturbed(
    material: Material,
    rule: GipSelector,
    *,
    method: str,
    before: np.ndarray,
    kind: str,
    level: float | None,
    seed: int,
) -> Pair:
    """Return `before` (seed 0, nothing changed) and the picks by `method` under one perturbation."""
    generator = np.random.default_rng(seed)
    features, scores, budget = material.features, material.scores, material.budget
    if kind == "seed":
        order = generator.permutation(len(material))
        after = order[choose(method, features[order], scores[order], budget, rule=rule, seed=seed)]
        return Pair(before, after)
    assert level is not None
    if kind == "rows":
        kept = np.sort(generator.permutation(len(material))[: max(1, round(level * len(material)))])
        count = max(1, round(budget * len(kept) / len(material)))
        after = choose(method, features, scores, count, rule=rule, rows=kept)
        return Pair(np.intersect1d(before, kept), after)
    if kind == "scores":
        scores = scores + level * scores.std(axis=0) * generator.standard_normal(scores.shape)
    else:
        features = with_noise(features, level, generator)
    return Pair(before, choose(method, features, scores, budget, rule=rule))


def with_noise(features: np.ndarray, level: float, generator: np.random.Generator) -> np.ndarray:
    """Return rows plus Gaussian vectors whose expected length is about `level` x the mean length of rows."""
    scale = level * np.linalg.norm(features, axis=1).mean() / np.sqrt(features.shape[1])
    return np.asarray(features + scale * generator.standard_normal(features.shape), dtype=np.float32)


def figure(rows: Sequence[dict[str, Any]], at_random: float) -> Figure:
    """Draw overlap against the level, one panel per perturbation; dotted: two random subsets."""
    with styled():
        drawing, axes = draw.panels(len(AXES), width=2.5)
        for panel, (kind, label) in zip(axes, AXES.items(), strict=True):
            for method in [name for name in METHODS if name not in BLIND.get(kind, ())]:
                mine = [row for row in rows if row["kind"] == kind and row["method"] == method]
                draw.line(panel, method, [row["level"] for row in mine], [row["overlap"] for row in mine])
            panel.axhline(at_random, color=FAINT, linestyle=":", linewidth=0.9)
            draw.tidy(panel, label, "IoU" if panel is axes[0] else "", kind)
            panel.set_ylim(-0.03, 1.05)
            if kind == "rows":
                panel.invert_xaxis()
            else:
                draw.log_with_zero(panel, [row["level"] for row in rows if row["kind"] == kind])
        draw.legend(drawing, METHODS)
        return drawing
