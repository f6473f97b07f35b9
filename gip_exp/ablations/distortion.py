"""`distortion`: distorted embeddings and scores; subsets are measured on the clean ones, by objective, quality and coverage.

Kinds of distortion and their levels are those of `distort.*` (`gip_exp.signals.distort`); the same keys take a distortion to a
trained result: `python -m gip_exp -m +experiment=quickstart distort.embeddings=none,rotation,projection,noise,adversarial`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from pydantic import Field as Key

from gip_exp.ablations import draw
from gip_exp.ablations.compose import Setup
from gip_exp.ablations.findings import Field, Findings, Picture, Sheet
from gip_exp.ablations.material import Material
from gip_exp.ablations.measures import coverage, jaccard, quality, unit
from gip_exp.ablations.methods import choose
from gip_exp.config.base import NonNegative, Section, Seed, Share
from gip_exp.config.selector import GipSelector
from gip_exp.errors import as_user_errors
from gip_exp.plotting import styled
from gip_exp.signals.distort import distorted, faulty

METHODS = ("mp_ma", "omp_ma", "mp_sc")
OF_SCORES = ("score noise",)


class Settings(Section):
    """Levels of each distortion, repeated over `ablation.seeds`."""

    projection: list[Share] = Key([0.5, 0.25, 0.1, 0.02], min_length=1)
    noise: list[NonNegative] = Key([0.5, 1, 2, 4], min_length=1)
    adversarial: list[NonNegative] = Key([0.1, 0.25, 0.5, 1], min_length=1)
    scores: list[NonNegative] = Key([0.5, 1, 2, 4], min_length=1)
    seeds: list[Seed] = Key([0, 1, 2], min_length=1)


FIELDS = (
    Field("kind", "distortion"),
    Field("level", "level"),
    Field("method", "method"),
    Field("overlap", "IoU clean", 3),
    Field("objective", "objective", 4),
    Field("quality", "quality", 4),
    Field("coverage", "coverage", 4),
)


def run(setup: Setup) -> Findings:
    """Measure every method under every distortion; return the table and its figure."""
    material = setup.material()
    rows = table(material, setup.selector, setup.settings)
    notes = (
        material.describe(),
        "IoU clean: with the picks from clean data; objective: projection energy of the picks by the clean embeddings and "
        "queries (scores; for mp_sc the data set), as a share of that of the clean picks; quality: mean attribute; coverage: "
        "mean over the pool of the best cosine to the subset; means over seeds.",
        "adversarial moves good rows together and bad ones away from them; for mp_sc, which reads no scores, by the same scores.",
    )
    sheet = Sheet("distortion", "Distorted embeddings and scores", FIELDS, tuple(rows), notes)
    caption = (
        "Objective (above) and overlap with the clean picks (below) against the level of the distortion."
    )
    return Findings("Ablation: distortion", (sheet,), (Picture("distortion", caption, figure(rows)),))


def cases(settings: Settings) -> Iterator[tuple[str, float | None]]:
    """Yield every kind of distortion with every level."""
    yield "none", None
    yield "rotation", None
    for kind in ("projection", "noise", "adversarial"):
        yield from ((kind, level) for level in getattr(settings, kind))
    yield from ((OF_SCORES[0], level) for level in settings.scores)


def table(material: Material, rule: GipSelector, settings: Settings) -> list[dict[str, Any]]:
    """Return one row per distortion, level and method: means over seeds."""
    units, methods = unit(material.features), METHODS
    clean = {
        method: choose(method, material.features, material.scores, material.budget, rule=rule)
        for method in methods
    }
    best = {method: energy(material, rule, method, picks) for method, picks in clean.items()}
    rows = []
    for kind, level in cases(settings):
        for method in methods:
            if kind in OF_SCORES and method == "mp_sc":
                continue  # reads no scores
            drawn = [
                _picks(material, rule, kind=kind, level=level, method=method, seed=seed)
                for seed in (settings.seeds if kind != "none" else settings.seeds[:1])
            ]
            measured = [
                {
                    "overlap": jaccard(picks, clean[method]),
                    "objective": energy(material, rule, method, picks) / best[method],
                    "quality": quality(material.scores, picks),
                    "coverage": coverage(units, picks),
                }
                for picks in drawn
            ]
            means = {key: float(np.mean([one[key] for one in measured])) for key in measured[0]}
            rows.append({"kind": kind, "level": level, "method": method, **means})
    return rows


def energy(material: Material, rule: GipSelector, method: str, picks: np.ndarray) -> float:
    """Return the trace objective of the picks on the clean data: projection energy of the method's queries."""
    from selection import projection_energy

    options = rule.model_dump(include={"ridge", "center", "normalize"})
    if method != "mp_sc":
        options |= {"scores": material.scores, "score_scaling": rule.score_scaling}
    with as_user_errors():
        return projection_energy(material.features, picks, **options)


def _picks(
    material: Material, rule: GipSelector, *, kind: str, level: float | None, method: str, seed: int
) -> np.ndarray:
    features, scores = material.features, material.scores
    if kind in OF_SCORES:
        assert level is not None
        scores = faulty(scores, "noise", level, features=features, lengths=material.lengths, seed=seed)
    else:
        features = distorted(features, kind, level or 0.0, seed=seed, scores=scores)
    return choose(method, features, scores, material.budget, rule=rule)


def figure(rows: list[dict[str, Any]]) -> Figure:
    """Draw objective and overlap against the level, one column per kind of distortion."""
    kinds = [kind for kind in dict.fromkeys(row["kind"] for row in rows) if kind not in ("none", "rotation")]
    with styled():
        drawing = Figure(figsize=(2.3 * len(kinds), 4.4))
        axes = drawing.subplots(2, len(kinds), squeeze=False, sharex="col", sharey="row")
        for column, kind in enumerate(kinds):
            for method in METHODS:
                mine = [row for row in rows if row["kind"] == kind and row["method"] == method]
                for place, key in enumerate(("objective", "overlap")):
                    draw.line(axes[place, column], method, [r["level"] for r in mine], [r[key] for r in mine])
            first = "objective, share of clean" if not column else ""
            draw.tidy(axes[0, column], "", first, kind)
            draw.tidy(axes[1, column], "level", "IoU with clean" if not column else "")
        draw.legend(drawing, METHODS)
        return drawing
