"""`encoder`: the same scores and rule over several embedders; unavailable ones are named and left out.

The embedder named on the command line keeps its keys (`embedder=sentence_transformer embedder.model=DIR`); the
others are used as configured in `conf/embedder/`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from pydantic import Field as Key

from gip_exp.ablations import draw
from gip_exp.ablations.compose import Setup
from gip_exp.ablations.findings import Field, Findings, Picture, Sheet
from gip_exp.ablations.material import Material, load
from gip_exp.ablations.measures import coverage, jaccard, mean_cosine, quality, unit
from gip_exp.ablations.methods import choose
from gip_exp.config.base import Section
from gip_exp.errors import UserError, listed
from gip_exp.plotting import grid, styled
from gip_exp.report.figures.style import mark
from gip_exp.report.figures.subsets import triangle
from gip_exp.report.names import look

METHODS = ("mp_ma", "mp_sc", "random")


class Settings(Section):
    """`ablation.embedders`: names of conf/embedder/, compared in this order."""

    embedders: list[str] = Key(
        ["tfidf", "hidden_state", "sentence_transformer", "qwen3_embedding", "openai"], min_length=1
    )
    seed: int = 0  # of random


def run(setup: Setup) -> Findings:
    """Select under every available embedder; return the tables and their figure."""
    rule = setup.selector
    materials, skipped = gather(setup)
    chosen = {
        (name, method): choose(method, of.features, of.scores, of.budget, rule=rule, seed=setup.settings.seed)
        for name, of in materials.items()
        for method in METHODS
    }
    rows = table(materials, chosen)
    first = next(iter(materials.values()))
    notes = (
        first.describe(),
        "mean cosine: between rows, before centring; coverage: mean over the pool of the best cosine to the subset, in "
        f"the embedder's own space and in that of {first.embedder}.",
        *(f"Left out: {name}: {reason}" for name, reason in skipped.items()),
    )
    sheets = (
        Sheet("encoder", "Encoder sweep", _fields(first.embedder), tuple(rows), notes),
        *(_overlap_sheet(method, list(materials), chosen) for method in METHODS[:2]),
    )
    caption = "Overlap of the selections between embedders, and quality and coverage under each."
    return Findings(
        "Ablation: encoder", sheets, (Picture("encoder", caption, figure(rows, list(materials), chosen)),)
    )


def gather(setup: Setup) -> tuple[dict[str, Material], dict[str, str]]:
    """Return material by embedder, and the reason for each unavailable one; UserError if none is available."""
    materials: dict[str, Material] = {}
    skipped: dict[str, str] = {}
    for name in dict.fromkeys(setup.settings.embedders):
        config = setup.with_embedder(name)
        try:
            materials[name] = load(config, setup.console)
        except UserError as error:
            skipped[name] = " ".join(str(error).split())
            setup.console.warn(f"embedder {name} left out: {skipped[name]}")
    if not materials:
        raise listed("no embedder is available:", [f"{name}: {reason}" for name, reason in skipped.items()])
    return materials, skipped


def _fields(reference: str) -> tuple[Field, ...]:
    return (
        Field("embedder", "embedder"),
        Field("method", "method"),
        Field("dimensions", "d"),
        Field("cosine", "mean cosine", 3),
        Field("quality", "quality", 4),
        Field("own", "coverage", 4),
        Field("reference", f"coverage in {reference}", 4),
    )


def table(
    materials: Mapping[str, Material], chosen: Mapping[tuple[str, str], np.ndarray]
) -> list[dict[str, Any]]:
    """Return one row per embedder and method."""
    reference = unit(next(iter(materials.values())).features)
    rows = []
    for name, of in materials.items():
        units = unit(of.features)
        for method in METHODS:
            picks = chosen[name, method]
            rows.append(
                {
                    "embedder": name,
                    "method": method,
                    "dimensions": of.features.shape[1],
                    "cosine": mean_cosine(units),
                    "quality": quality(of.scores, picks),
                    "own": coverage(units, picks),
                    "reference": coverage(reference, picks),
                }
            )
    return rows


def _overlap_sheet(method: str, names: Sequence[str], chosen: Mapping[tuple[str, str], np.ndarray]) -> Sheet:
    rows = tuple(
        {"embedder": one, **{other: jaccard(chosen[one, method], chosen[other, method]) for other in names}}
        for one in names
    )
    fields = (Field("embedder", "embedder"), *(Field(name, name, 3) for name in names))
    note = "Intersection over union of the picks under two embedders."
    return Sheet(f"encoder-overlap-{method}".replace("_", "-"), f"Overlap, {method}", fields, rows, (note,))


def figure(
    rows: Sequence[dict[str, Any]], names: Sequence[str], chosen: Mapping[tuple[str, str], np.ndarray]
) -> Figure:
    """Draw quality and coverage under each embedder, and the overlap of mp_ma's picks between embedders."""
    labels = [name.replace("_", " ") for name in names]
    with styled():
        drawing, axes = draw.panels(3 if len(names) > 1 else 2, width=2.7)
        for panel, (key, label) in zip(
            axes, (("quality", "mean attribute"), ("own", "coverage")), strict=False
        ):
            for method in METHODS:
                values = [row[key] for row in rows if row["method"] == method]
                panel.plot(range(len(names)), values, **(mark(look(method)) | {"linestyle": "none"}))
            panel.set(ylabel=label)
            panel.set_xticks(range(len(names)), labels, rotation=25, ha="right", rotation_mode="anchor")
            grid(panel, "y")
            panel.margins(0.2)
        if len(names) > 1:
            matrix = np.array(
                [[jaccard(chosen[a, "mp_ma"], chosen[b, "mp_ma"]) for b in names] for a in names]
            )
            triangle(axes[2], labels, matrix, "overlap of MP+MA")
        draw.legend(drawing, METHODS, solid=True)
        return drawing
