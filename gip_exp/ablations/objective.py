"""`objective`: determinant against trace against mp: the share of the best objective that each greedy rule reaches.

On small pools drawn from the data every subset is searched, so the best by determinant (mutual information) and by
trace (projection energy) are known. On the whole pool the rules are compared with each other.

How to read it: with one attribute both objectives order subsets in the same way. With several, the determinant does
not change (for noise -> 0) when the score columns are mixed by an invertible matrix, so it cannot distinguish high
scores from low ones and rewards rows that distinguish the attributes; the trace depends on the columns themselves.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from gip_exp.ablations import draw
from gip_exp.ablations.compose import Setup
from gip_exp.ablations.exhaustive import Landscape, check_size, landscape
from gip_exp.ablations.findings import Field, Findings, Picture, Sheet
from gip_exp.ablations.material import Material
from gip_exp.ablations.measures import jaccard, quality
from gip_exp.ablations.methods import choose
from gip_exp.config.base import Positive, Section
from gip_exp.config.selector import GipSelector
from gip_exp.errors import UserError, as_user_errors
from gip_exp.plotting import styled
from gip_exp.report.figures.style import mark
from gip_exp.report.figures.subsets import triangle
from gip_exp.report.names import look

RULES = ("mp_ma", "omp_ma", "logdet_ma", "top_score", "random")


class Settings(Section):
    """`ablation.pools` small pools of `rows` rows each, drawn with `seed`; `picks` rows are selected from each."""

    pools: Positive = 20
    rows: Positive = 20
    picks: Positive = 5
    seed: int = 0


SMALL = (
    Field("method", "rule"),
    Field("information", "information", 4),
    Field("information_low", "lowest", 4),
    Field("energy", "energy", 4),
    Field("energy_low", "lowest", 4),
    Field("overlap_determinant", "IoU best det", 3),
    Field("overlap_trace", "IoU best trace", 3),
    Field("found", "best det found"),
)
WHOLE_NOTE = (
    "information: mutual information, nats; energy: projection energy, share of the whole pool's; "
    "IoU: intersection over union of the picks."
)
WHOLE = (
    Field("method", "rule"),
    Field("information", "information", 3),
    Field("energy_share", "energy", 4),
    Field("quality", "quality", 4),
    *(Field(method, f"IoU {look(method).label}", 3) for method in RULES[:3]),
)


def run(setup: Setup) -> Findings:
    """Compare the greedy rules on small pools and on the whole pool; return the tables and their figure."""
    rule, settings = setup.selector, setup.settings
    check_size(settings.rows, settings.picks)
    if rule.ridge == 0 or rule.noise == 0:
        raise UserError("selector.ridge and selector.noise must be > 0 here: the objective needs both")
    material = setup.material()
    if settings.rows > len(material):
        raise UserError(f"ablation.rows={settings.rows} is more than the pool holds: {len(material)} rows")
    outcomes = small_pools(material, rule, settings)
    chosen = {
        method: choose(
            method, material.features, material.scores, material.budget, rule=rule, seed=settings.seed
        )
        for method in RULES
    }
    sheets = (_small_sheet(outcomes, settings), _whole_sheet(material, rule, chosen))
    caption = (
        f"Left: share of the best subset's objective, {settings.pools} pools of {settings.rows} rows, "
        f"{settings.picks} picks, all subsets searched. Right: overlap of the rules' picks on the whole pool."
    )
    picture = Picture("objective", caption, figure(outcomes, chosen))
    return Findings("Ablation: objective", sheets, (picture,))


def small_pools(material: Material, rule: GipSelector, settings: Settings) -> list[dict[str, Any]]:
    """Return one row per pool and rule: shares of the best objective, overlaps with the best subsets."""
    generator = np.random.default_rng(settings.seed)
    rows = []
    for pool in range(settings.pools):
        drawn = _draw(material, settings.rows, generator)
        features, scores = material.features[drawn], material.scores[drawn]
        kept = np.ptp(scores, axis=0) > 0
        scores = scores[:, kept] if kept.any() else scores
        known = landscape(
            features,
            scores,
            settings.picks,
            ridge=rule.ridge,
            noise=rule.noise,
            center=rule.center,
            normalize=rule.normalize,
        )
        exact = rule.model_copy(update={"score_scaling": "rms"})
        for method in RULES:
            picks = choose(method, features, scores, settings.picks, rule=exact, seed=pool)
            rows.append({"pool": pool, "method": method, **_against(known, known.of(picks))})
        rows.append({"pool": pool, "method": "best by trace", **_against(known, known.best_by_trace)})
        rows.append(
            {"pool": pool, "method": "best by determinant", **_against(known, known.best_by_determinant)}
        )
    return rows


def _draw(material: Material, count: int, generator: np.random.Generator) -> np.ndarray:
    """Draw the rows of a small pool, ascending, without zero embeddings and all-zero score columns."""
    for _ in range(100):
        rows = np.sort(generator.permutation(len(material))[:count])
        if material.features[rows].any(axis=1).all() and material.scores[rows].any(axis=0).all():
            return rows
    raise UserError(
        f"no pool of ablation.rows={count} rows has an attribute above zero in every column: raise it"
    )


def _against(known: Landscape, subset: int) -> dict[str, float]:
    trace, determinant = known.best_by_trace, known.best_by_determinant
    return {
        "information": float(known.information[subset] / known.information[determinant]),
        "energy": float(known.energy[subset] / known.energy[trace]),
        "overlap_determinant": jaccard(known.subsets[subset], known.subsets[determinant]),
        "overlap_trace": jaccard(known.subsets[subset], known.subsets[trace]),
    }


def _small_sheet(outcomes: Sequence[dict[str, Any]], settings: Settings) -> Sheet:
    rows = []
    for method in dict.fromkeys(row["method"] for row in outcomes):
        mine = [row for row in outcomes if row["method"] == method]
        means = {
            key: float(np.mean([row[key] for row in mine]))
            for key in mine[0]
            if key not in ("pool", "method")
        }
        found = sum(row["overlap_determinant"] == 1 for row in mine)
        lows = {f"{key}_low": min(row[key] for row in mine) for key in ("information", "energy")}
        rows.append({"method": method, **means, **lows, "found": f"{found} of {len(mine)}"})
    title = (
        f"{settings.pools} pools of {settings.rows} rows, {settings.picks} picks: against exhaustive search"
    )
    notes = (
        "Information: the determinant objective (mutual information, nats); energy: the trace objective. Shares "
        "of the best subset's, mean and lowest over pools; IoU: intersection over union with the best subset.",
    )
    return Sheet("objective-small", title, SMALL, tuple(rows), notes)


def _whole_sheet(material: Material, rule: GipSelector, chosen: dict[str, np.ndarray]) -> Sheet:
    from selection import mutual_information, projection_energy

    options = rule.model_dump(include={"ridge", "center", "normalize", "score_scaling"})
    inputs = {"scores": material.scores, **options}
    rows = []
    with as_user_errors():
        everything = projection_energy(material.features, np.arange(len(material)), **inputs)
        for method, picks in chosen.items():
            row = {
                "method": method,
                "information": mutual_information(material.features, picks, noise=rule.noise, **inputs),
                "energy_share": projection_energy(material.features, picks, **inputs) / everything,
                "quality": quality(material.scores, picks),
            }
            rows.append(row | {other: jaccard(picks, chosen[other]) for other in RULES[:3]})
    return Sheet("objective-whole", "The whole pool", WHOLE, tuple(rows), (material.describe(), WHOLE_NOTE))


def figure(outcomes: Sequence[dict[str, Any]], chosen: dict[str, np.ndarray]) -> Figure:
    """Draw shares of the best objective on small pools, and overlaps of the picks on the whole pool."""
    with styled():
        drawing, axes = draw.panels(3, legend=False, width=2.6)
        for panel, key in zip(axes, ("information", "energy"), strict=False):
            for position, method in enumerate(RULES):
                values = np.array([row[key] for row in outcomes if row["method"] == method])
                spread = position + np.linspace(-0.22, 0.22, len(values))
                style = mark(look(method)) | {"linestyle": "none", "markersize": 3.2, "alpha": 0.6}
                panel.plot(values, spread, **style)
                panel.plot([values.mean()] * 2, [position - 0.32, position + 0.32], color="#222222", lw=1.6)
            panel.set_yticks(range(len(RULES)), [look(method).label for method in RULES])
            panel.invert_yaxis()
            draw.tidy(
                panel, f"share of the best {key}", "", "determinant" if key == "information" else "trace"
            )
        axes[1].set_yticklabels([])
        matrix = np.array([[jaccard(a, b) for b in chosen.values()] for a in chosen.values()])
        triangle(axes[2], [look(method).label for method in chosen], matrix, "overlap, whole pool")
        return drawing
