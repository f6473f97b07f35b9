"""`selection.html`: one self-contained page. Texts of rows are data: they are escaped, and scripts only show them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from gip_exp.config import Config
from gip_exp.pages import environment
from gip_exp.selection_report import charts
from gip_exp.selection_report.findings import Findings, near_copies
from gip_exp.selection_report.geometry import sample
from gip_exp.selection_report.material import Material

TEMPLATE, SCRIPT = (Path(__file__).parent / name for name in ("page.html", "page.js"))
POINTS = 3000  # rows of the pool on the map, besides the picks of the table
PICKS = 2000  # rows of the table
START = 160  # characters of a text in the table and on the map
WHOLE = 1500  # characters of a text that is shown as an example
COPIES = 20  # near-copies shown


@dataclass(frozen=True)
class Content:
    """What page and Markdown show."""

    title: str
    summary: tuple[str, ...]
    material: Material
    found: Findings
    examples: dict[str, list[dict[str, Any]]]
    copies: tuple[int, list[dict[str, str]]]
    left_out: dict[str, int]


def content(config: Config, material: Material, found: Findings) -> Content:
    """Gather what is shown."""
    alike = near_copies(material, found)
    pairs = [
        {
            "row": material.name(row),
            "text": _start(material, row, "prompt"),
            "pick": material.name(pick),
            "pick_text": _start(material, pick, "prompt"),
            "cosine": f"{cosine:.3f}",
        }
        for row, pick, cosine in alike[:COPIES]
    ]
    reasons = [str(entry["why"]) for entry in material.left_out]
    return Content(
        title=f"{config.experiment}: {material.n_selected:,} of {len(material.pool):,} rows by {config.selector.name}",
        summary=_summary(config, material),
        material=material,
        found=found,
        examples={name: [_example(material, one) for one in part] for name, part in found.shown.items()},
        copies=(len(alike), pairs),
        left_out={reason: reasons.count(reason) for reason in dict.fromkeys(reasons)},
    )


def _summary(config: Config, material: Material) -> tuple[str, ...]:
    share = material.n_selected / len(material.pool)
    lines = [
        f"Selected: {material.n_selected:,} of {len(material.pool):,} rows ({100 * share:.3g} %) by {config.selector.name}, "
        f"budget {config.budget}, seed {config.seed}.",
        f"Similarities, map, topics and coverage are by the embedder {material.embedder}.",
    ]
    if not material.complete:
        lines.append(
            f"This run made no embeddings, so {len(material.described):,} of {len(material.pool):,} rows are described: "
            f"{len(material.drawn):,} drawn at random, and the first of the ranking. Embeddings, topics and nearest picks "
            "of the other rows are unknown."
        )
    unscored = np.setdiff1d(material.pool[material.unscored[material.pool]], material.order)
    if len(unscored):
        lines.append(
            f"{len(unscored):,} rows of the pool have no score and could not be selected (status unscored in scored.parquet)."
        )
    held_out = len(material.rows) - len(material.pool)
    if held_out:
        lines.append(f"{held_out:,} more rows are held out as the target.")
    return tuple(lines)


def _start(material: Material, row: int, part: str, most: int = START) -> str:
    text = str(material.rows[row].get(part) or "")
    return text if len(text) <= most else f"{text[:most]}…"


def _example(material: Material, one: Any) -> dict[str, Any]:
    texts = {part: str(material.rows[one.row].get(part) or "") for part in ("prompt", "completion")}
    cut = {part: max(0, len(text) - WHOLE) for part, text in texts.items()}
    return {
        "rank": one.rank,
        "name": material.name(one.row),
        "why": one.why,
        **{part: text[:WHOLE] for part, text in texts.items()},
        "cut": cut,
    }


def render(content: Content) -> str:
    """Return the page as text."""
    templates = environment(TEMPLATE.parent)
    templates.filters["number"] = number
    material, found = content.material, content.found
    selected = material.selected
    drawings = {
        name: charts.histogram(name, v[material.pool], v[selected]) for name, v in found.lengths.items()
    }
    curves = [(curve.name, charts.line_chart(curve, material.n_selected)) for curve in found.curves]
    return templates.get_template(TEMPLATE.name).render(
        content=content,
        found=found,
        histograms=drawings,
        curves=curves,
        ends=len(material.order) <= 1.05 * material.n_selected < len(material.pool),
        columns=_columns(material),
        rows=_table(material, found),
        most_picks=PICKS,
        map_data=_as_script_data(_points(material, found)),
    )


def number(value: float | None, digits: int) -> str:
    """Format a number with thousands separators, and at least two significant digits; a dash for none."""
    if value is None or np.isnan(value):
        return "–"
    return f"{value:.2g}" if digits and 0 < abs(value) < 0.05 else f"{value:,.{digits}f}"


def _as_script_data(value: Any) -> Markup:
    """Return JSON for a script element: no text in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character, escaped in (
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u2028", "\\u2028"),
        ("\u2029", "\\u2029"),
    ):
        text = text.replace(character, escaped)
    return Markup(text)  # nosec - escaped above


def _columns(material: Material) -> list[tuple[str, str]]:
    """Return (heading, `number` or the classes of a text) of the columns of the table of picks."""
    scores = [(name, "number") for name in material.telling]
    gains = [("gain", "number")] if material.gains.any() else []
    return [
        ("rank", "number"), ("row", "text"), *scores, *gains,
        ("characters", "number"), ("topic", "text"), ("prompt", "text long"), ("reply", "text long"),
    ]  # fmt: skip


def _table(material: Material, found: Findings) -> list[list[str]]:
    rows = []
    for at, row in enumerate(material.selected[:PICKS].tolist()):
        position = material.position[row]
        rows.append(
            [
                str(at + 1),
                material.name(row),
                *(_plain(values[row]) for values in material.telling.values()),
                *([f"{material.gains[at]:.4g}"] if material.gains.any() else []),
                str(int(sum(values[row] for values in found.lengths.values()))),
                found.topic_names[found.topic[position]] if position >= 0 else "",
                _start(material, row, "prompt"),
                _start(material, row, "completion"),
            ]
        )
    return rows


def _plain(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4g}"


def _points(material: Material, found: Findings) -> dict[str, Sequence[Any]]:
    """Return the rows on the map: coordinates, rank (0 if not selected), topic, start of the prompt, name."""
    picks = material.ranked[: min(material.n_selected, PICKS)]
    others = np.setdiff1d(material.drawn, material.ranked[: material.n_selected])
    positions = np.concatenate([others[sample(len(others), POINTS)], picks[::-1]]).astype(int)
    rows = material.described[positions]
    ranks = {int(row): at + 1 for at, row in enumerate(material.selected[:PICKS])}
    return {
        "x": [round(float(v), 4) for v in found.place[positions, 0]],
        "y": [round(float(v), 4) for v in found.place[positions, 1]],
        "rank": [ranks.get(int(row), 0) for row in rows],
        "topic": found.topic[positions].tolist(),
        "topics": list(found.topic_names),
        "text": [_start(material, int(row), "prompt", 140) for row in rows],
        "name": [material.name(int(row)) for row in rows],
    }
