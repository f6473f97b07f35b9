"""`noise`: noise and bias added to the scores; subsets are measured with the original scores.

Three faults of a judge, each at several levels (in standard deviations of the attribute) and clipped to the range of
the attribute: `noise`, independent of everything; `length`, in favour of long completions; `subject`, in favour of
one direction of the embeddings.
"""

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
from gip_exp.ablations.methods import choose
from gip_exp.config.base import NonNegative, Section, Seed
from gip_exp.config.selector import GipSelector
from gip_exp.plotting import styled
from gip_exp.signals.distort import faulty

METHODS = ("mp_ma", "omp_ma", "top_score", "gate_random")
FAULTS = {"noise": "independent noise", "length": "bias to length", "subject": "bias to a subject"}


class Settings(Section):
    """`ablation.levels` of each of `faults`, repeated over `seeds` (which also draw the favoured subject)."""

    levels: list[NonNegative] = Key([0, 0.25, 0.5, 1, 2, 4], min_length=1)
    faults: list[Literal["noise", "length", "subject"]] = Key(["noise", "length", "subject"], min_length=1)
    seeds: list[Seed] = Key([0, 1, 2], min_length=1)


FIELDS = (
    Field("fault", "fault"),
    Field("level", "level"),
    Field("method", "method"),
    Field("quality", "true quality", 4),
    Field("quality_sd", "sd", 4),
    Field("overlap", "IoU clean", 3),
    Field("coverage", "coverage", 4),
)


def run(setup: Setup) -> Findings:
    """Measure every method under every fault and level; return the table and its figure."""
    rule, settings = setup.selector, setup.settings
    material = setup.material()
    rows = table(material, rule, settings)
    drawn = [
        choose("random", material.features, material.scores, material.budget, rule=rule, seed=seed)
        for seed in settings.seeds
    ]
    floor = float(np.mean([quality(material.scores, picks) for picks in drawn]))
    notes = (
        material.describe(),
        "level: in standard deviations of the attribute, scores clipped to the attribute's range; true quality: mean "
        f"attribute by the clean scores (random: {floor:.4f}); sd: over seeds; IoU clean: with the picks from clean "
        "scores (gate_random: same seed).",
    )
    sheet = Sheet("noise", "Noise and bias in the scores", FIELDS, tuple(rows), notes)
    caption = (
        "True quality (above) and overlap with the clean selection (below) against the level of the fault."
    )
    return Findings("Ablation: noise", (sheet,), (Picture("noise", caption, figure(rows, floor)),))


def table(material: Material, rule: GipSelector, settings: Settings) -> list[dict[str, Any]]:
    """Return one row per fault, level and method: means over seeds."""
    units = unit(material.features)
    clean = {
        (method, seed): choose(
            method, material.features, material.scores, material.budget, rule=rule, seed=seed
        )
        for method in METHODS
        for seed in settings.seeds
    }
    rows = []
    for fault in settings.faults:
        for level in settings.levels:
            for method in METHODS:
                drawn = [
                    _picks(material, rule, fault=fault, level=level, method=method, seed=seed)
                    for seed in settings.seeds
                ]
                qualities = [quality(material.scores, picks) for picks in drawn]
                overlaps = [
                    jaccard(picks, clean[method, seed])
                    for picks, seed in zip(drawn, settings.seeds, strict=True)
                ]
                rows.append(
                    {
                        "fault": fault,
                        "level": level,
                        "method": method,
                        "quality": float(np.mean(qualities)),
                        "quality_sd": float(np.std(qualities)),
                        "overlap": float(np.mean(overlaps)),
                        "coverage": float(np.mean([coverage(units, picks) for picks in drawn])),
                    }
                )
    return rows


def _picks(
    material: Material, rule: GipSelector, *, fault: str, level: float, method: str, seed: int
) -> np.ndarray:
    scores = faulty(
        material.scores, fault, level, features=material.features, lengths=material.lengths, seed=seed
    )
    return choose(method, material.features, scores, material.budget, rule=rule, seed=seed)


def figure(rows: Sequence[dict[str, Any]], floor: float) -> Figure:
    """Draw true quality and overlap with the clean selection against the level, one column per fault."""
    faults = list(dict.fromkeys(row["fault"] for row in rows))
    with styled():
        drawing = Figure(figsize=(2.5 * len(faults), 4.4))
        axes = drawing.subplots(2, len(faults), squeeze=False, sharex=True, sharey="row")
        for column, fault in enumerate(faults):
            for method in METHODS:
                mine = [row for row in rows if row["fault"] == fault and row["method"] == method]
                levels = [row["level"] for row in mine]
                spread = [row["quality_sd"] for row in mine]
                draw.line(axes[0, column], method, levels, [row["quality"] for row in mine], spread)
                draw.line(axes[1, column], method, levels, [row["overlap"] for row in mine])
            draw.level(axes[0, column], "random", floor)
            draw.tidy(axes[0, column], "", "true quality" if not column else "", FAULTS[fault])
            draw.tidy(axes[1, column], "level (standard deviations)", "IoU with clean" if not column else "")
            axes[1, column].set_ylim(-0.03, 1.05)
        draw.legend(drawing, METHODS)
        return drawing
