"""`self_compression`: two readings of MP+SC, the data set as its own query and one self-compression score per row.

`mp_sc` starts from the correlation of every row with every other; `mp_sc_column` from one column, h_i / n. The first gain of a
row is the same in both but for a factor and a square: h_i against h_i^2.
"""

from typing import Any

from matplotlib.figure import Figure
from pydantic import Field as Key

from gip_exp.ablations import draw
from gip_exp.ablations.compose import Setup
from gip_exp.ablations.findings import Field, Findings, Picture, Sheet
from gip_exp.ablations.material import Material
from gip_exp.ablations.measures import coverage, jaccard, topic_share, topics, unit
from gip_exp.ablations.methods import choose
from gip_exp.config.base import Positive, Section, Seed, Share
from gip_exp.config.selector import GipSelector
from gip_exp.data import split
from gip_exp.plotting import styled

METHODS = ("mp_sc", "mp_sc_column", "random")


class Settings(Section):
    """`ablation.budgets`, shares of the pool; `topics` clusters of k-means; `seed` of random and of the clusters."""

    budgets: list[Share] = Key([0.025, 0.05, 0.1], min_length=1)
    topics: Positive = 50
    seed: Seed = 0


FIELDS = (
    Field("share", "budget"),
    Field("picks", "picks"),
    Field("method", "method"),
    Field("overlap", "IoU mp_sc", 3),
    Field("coverage", "coverage", 4),
    Field("topics", "topics", 3),
)


def run(setup: Setup) -> Findings:
    """Compare the picks for every budget; return the table and its figure."""
    material = setup.material()
    rows = table(material, setup.selector, setup.settings)
    notes = (
        material.describe(),
        "IoU mp_sc: intersection over union with the picks of mp_sc; coverage: mean over the pool of the best cosine to the "
        f"subset; topics: share of {setup.settings.topics} clusters with a pick.",
    )
    sheet = Sheet("self-compression", "Two readings of self-compression", FIELDS, tuple(rows), notes)
    caption = "Coverage of the pool (left) and overlap of the two readings (right) against the budget."
    return Findings(
        "Ablation: self-compression", (sheet,), (Picture("self-compression", caption, figure(rows)),)
    )


def table(material: Material, rule: GipSelector, settings: Settings) -> list[dict[str, Any]]:
    """Return one row per budget and method."""
    n, units = len(material), unit(material.features)
    labels = topics(material.features, min(settings.topics, n), settings.seed)
    counts = {share: split.count(share, n) for share in settings.budgets}
    # Picks are nested: those of the largest budget hold those of the others.
    ranked = {
        method: choose(
            method, material.features, material.scores, max(counts.values()), rule=rule, seed=settings.seed
        )
        for method in METHODS
    }
    return [
        {
            "share": f"{100 * share:g} %",
            "picks": count,
            "method": method,
            "overlap": jaccard(picks[:count], ranked["mp_sc"][:count]),
            "coverage": coverage(units, picks[:count]),
            "topics": topic_share(labels, picks[:count]),
        }
        for share, count in counts.items()
        for method, picks in ranked.items()
    ]


def figure(rows: list[dict[str, Any]]) -> Figure:
    """Draw coverage, and overlap with mp_sc, against the number of picks."""
    with styled():
        drawing, axes = draw.panels(2, width=2.8)
        for method in METHODS:
            mine = [row for row in rows if row["method"] == method]
            picks = [row["picks"] for row in mine]
            draw.line(axes[0], method, picks, [row["coverage"] for row in mine])
            draw.line(axes[1], method, picks, [row["overlap"] for row in mine])
        draw.tidy(axes[0], "picks", "coverage", "")
        draw.tidy(axes[1], "picks", "IoU with mp_sc", "")
        axes[1].set_ylim(-0.03, 1.05)
        draw.legend(drawing, METHODS)
        return drawing
