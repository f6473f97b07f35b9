"""`coverage`: topics of the pool (k-means on the embeddings) that a subset covers, against the budget."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from pydantic import Field as Key

from gip_exp.ablations import draw
from gip_exp.ablations.compose import Setup
from gip_exp.ablations.findings import Field, Findings, Picture, Sheet
from gip_exp.ablations.material import Material
from gip_exp.ablations.measures import coverage, quality, topic_entropy, topic_share, topics, unit
from gip_exp.ablations.methods import choose, is_seeded
from gip_exp.config.base import Positive, Section, Seed, Share
from gip_exp.config.selector import GipSelector
from gip_exp.errors import UserError
from gip_exp.plotting import styled

METHODS = ("mp_ma", "mp_sc", "omp_ma", "top_score", "gate_random", "random")


class Settings(Section):
    """`ablation.topics` clusters of the pool, drawn with `seed`; `budgets` as shares of the pool."""

    topics: Positive = 50
    budgets: list[Share] = Key([0.01, 0.025, 0.05, 0.1, 0.2], min_length=1)
    seed: int = 0
    seeds: list[Seed] = Key([0, 1, 2, 3, 4], min_length=1)  # of random and gate_random


FIELDS = (
    Field("method", "method"),
    Field("budget", "budget"),
    Field("n", "picks"),
    Field("topics", "topics covered", 3),
    Field("entropy", "topic entropy", 4),
    Field("coverage", "coverage", 4),
    Field("quality", "quality", 4),
)


def run(setup: Setup) -> Findings:
    """Cluster the pool and measure every method at every budget; return the table and its figure."""
    rule, settings = setup.selector, setup.settings
    material = setup.material()
    if not 2 <= settings.topics <= len(material):
        raise UserError(
            f"ablation.topics={settings.topics}: give a count from 2 to {len(material)}, the pool"
        )
    labels = topics(material.features, settings.topics, settings.seed)
    rows = table(material, rule, labels, settings)
    notes = (
        material.describe(),
        f"{settings.topics} topics by k-means on centred embeddings; topics covered: share with a pick; entropy: of the "
        "picks' topics over its maximum (the pool's own: "
        f"{topic_entropy(labels, np.arange(len(material))):.4f}). "
        "random and gate_random: means over seeds.",
    )
    sheet = Sheet("coverage", "Coverage by topic", FIELDS, tuple(rows), notes)
    caption = "Topics covered, their entropy and the mean attribute against the budget."
    return Findings("Ablation: coverage", (sheet,), (Picture("coverage", caption, figure(rows)),))


def table(
    material: Material, rule: GipSelector, labels: np.ndarray, settings: Settings
) -> list[dict[str, Any]]:
    """Return one row per method and budget. Rankings are nested: a method ranks once for its largest budget."""
    units = unit(material.features)
    budgets = {share: max(1, round(share * len(material))) for share in sorted(settings.budgets)}
    rows = []
    for method in METHODS:
        seeds = settings.seeds if is_seeded(method) else settings.seeds[:1]
        rankings = [
            choose(method, material.features, material.scores, max(budgets.values()), rule=rule, seed=seed)
            for seed in seeds
        ]
        for share, count in budgets.items():
            subsets = [ranking[:count] for ranking in rankings]
            measured = [
                (
                    topic_share(labels, picks),
                    topic_entropy(labels, picks),
                    coverage(units, picks),
                    quality(material.scores, picks),
                )
                for picks in subsets
            ]
            means = dict(
                zip(
                    ("topics", "entropy", "coverage", "quality"),
                    np.mean(measured, axis=0).tolist(),
                    strict=True,
                )
            )
            rows.append({"method": method, "budget": share, "n": count, **means})
    return rows


def figure(rows: Sequence[dict[str, Any]]) -> Figure:
    """Draw topics covered, their entropy and quality against the budget."""
    measured = (
        ("topics", "share of topics covered"),
        ("entropy", "topic entropy"),
        ("quality", "mean attribute"),
    )
    with styled():
        drawing, axes = draw.panels(len(measured), width=2.5)
        for panel, (key, label) in zip(axes, measured, strict=True):
            for method in METHODS:
                mine = [row for row in rows if row["method"] == method]
                draw.line(panel, method, [100 * row["budget"] for row in mine], [row[key] for row in mine])
            draw.tidy(panel, "budget (% of the pool)", label)
            ticks = sorted({100 * row["budget"] for row in rows})
            panel.set_xscale("log")
            panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            panel.minorticks_off()
        draw.legend(drawing, METHODS)
        return drawing
