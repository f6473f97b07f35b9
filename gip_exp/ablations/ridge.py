"""`ridge`: quality, coverage and overlap against the ridge, from variety (0) to top scores (large)."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from pydantic import Field as Key

from gip_exp.ablations import draw
from gip_exp.ablations.compose import Setup
from gip_exp.ablations.findings import Field, Findings, Picture, Sheet
from gip_exp.ablations.material import Material
from gip_exp.ablations.measures import coverage, jaccard, quality, unit
from gip_exp.ablations.methods import choose, gip
from gip_exp.config.base import NonNegative, Section, Seed
from gip_exp.config.selector import GipSelector
from gip_exp.plotting import styled

REFERENCES = ("random", "top_score")


class Settings(Section):
    """`ablation.ridges` are swept for each of `ablation.methods`; `reference` is the ridge compared with."""

    ridges: list[NonNegative] = Key([0, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100], min_length=1)
    methods: list[Literal["mp", "omp", "logdet"]] = Key(["mp", "omp"], min_length=1)
    reference: NonNegative = 1.0
    seeds: list[Seed] = Key([0, 1, 2, 3, 4], min_length=1)


FIELDS = (
    Field("method", "rule"),
    Field("ridge", "ridge"),
    Field("quality", "quality", 4),
    Field("coverage", "coverage", 4),
    Field("top", "IoU top score", 3),
    Field("default", "IoU reference", 3),
    Field("rounds", "rounds"),
)


def run(setup: Setup) -> Findings:
    """Sweep the ridge for every rule; return the table and its figure."""
    rule, settings = setup.selector, setup.settings
    material = setup.material()
    rows = [*_references(material, rule, settings.seeds), *sweep(material, rule, settings)]
    notes = (
        material.describe(),
        "quality: mean attribute of the subset; coverage: mean over the pool of the best cosine to the subset; "
        f"IoU: intersection over union with the picks of top score and of ridge {settings.reference:g} (reference).",
    )
    sheet = Sheet("ridge", "Ridge sweep", FIELDS, tuple(rows), notes)
    picture = Picture("ridge", "Quality, coverage and overlap against the ridge.", figure(rows))
    return Findings("Ablation: ridge", (sheet,), (picture,))


def sweep(material: Material, rule: GipSelector, settings: Settings) -> list[dict[str, Any]]:
    """Return one row per method and ridge; ridge 0 is left out for omp and logdet, which do not support it."""
    units, top = unit(material.features), choose("top_score", *_inputs(material), rule=rule)
    rows = []
    for method in settings.methods:
        wanted = dict.fromkeys([*settings.ridges, settings.reference])
        ridges = [ridge for ridge in wanted if ridge > 0 or method == "mp"]
        found = {
            ridge: gip(*_inputs(material), rule, method=method, ridge=ridge)
            for ridge in dict.fromkeys(ridges)
        }
        for ridge in [r for r in ridges if r in settings.ridges]:
            picks = found[ridge].indices
            rows.append(
                {
                    "method": f"{method}_ma",
                    "ridge": ridge,
                    "quality": quality(material.scores, picks),
                    "coverage": coverage(units, picks),
                    "top": jaccard(picks, top),
                    "default": jaccard(picks, found[settings.reference].indices)
                    if settings.reference in found
                    else None,
                    "rounds": len(found[ridge].rounds),
                }
            )
    return rows


def _inputs(material: Material) -> tuple[np.ndarray, np.ndarray, int]:
    return material.features, material.scores, material.budget


def _references(material: Material, rule: GipSelector, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Return rows of the methods without a ridge: random (mean over seeds) and top score."""
    units, rows = unit(material.features), []
    top = choose("top_score", *_inputs(material), rule=rule)
    for method in REFERENCES:
        drawn = [
            choose(method, *_inputs(material), rule=rule, seed=seed)
            for seed in (seeds if method == "random" else seeds[:1])
        ]
        rows.append(
            {
                "method": method,
                "quality": float(np.mean([quality(material.scores, picks) for picks in drawn])),
                "coverage": float(np.mean([coverage(units, picks) for picks in drawn])),
                "top": float(np.mean([jaccard(picks, top) for picks in drawn])),
            }
        )
    return rows


def figure(rows: Sequence[dict[str, Any]]) -> Figure:
    """Draw quality, coverage and overlap with top score against the ridge."""
    with styled():
        drawing, axes = draw.panels(3, width=2.5)
        swept = [row for row in rows if "ridge" in row]
        methods = list(dict.fromkeys(row["method"] for row in swept))
        measured = (
            ("quality", "mean attribute"),
            ("coverage", "mean best cosine"),
            ("top", "IoU with top score"),
        )
        for panel, (key, label) in zip(axes, measured, strict=True):
            for row in rows:
                if row["method"] in REFERENCES and not (key == "top" and row["method"] == "top_score"):
                    draw.level(panel, row["method"], row[key])
            for method in methods:
                mine = [row for row in swept if row["method"] == method]
                draw.line(panel, method, [row["ridge"] for row in mine], [row[key] for row in mine])
            draw.tidy(panel, "ridge", label, key if key != "top" else "overlap")
            draw.log_with_zero(panel, sorted({row["ridge"] for row in swept}))
            panel.tick_params(axis="x", labelsize=6.5)
        draw.legend(drawing, methods)
        return drawing
