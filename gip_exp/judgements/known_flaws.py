"""How well a judge's scores tell sound rows from rows with known flaws, where the data have labels.

A judge that knows nothing gives grades that look like any others. Rows made flawed (`data.flawed`) show whether its grades mean
something before they decide a selection.
"""

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from gip_exp.artifacts import LABELS
from gip_exp.runs.records import FlawDetection
from gip_exp.signals.summary import ranks
from gip_exp.signals.table import SCORES
from gip_exp.stage import Entries
from gip_exp.storage.files import read_jsonl
from selection.signals import read_signals

ALL = "all"
FEWEST = 2  # rows of either kind for an interval


def detection(entries: Entries) -> dict[str, FlawDetection]:
    """Return how the mean of a row's scores separates sound rows from flawed ones, for each flaw and for all together.

    Rows without a score do not count. Empty without scores or labels, and for flaws of fewer than two scored rows.
    """
    labels = entries["data"].folder / LABELS if "data" in entries else None
    if "score" not in entries or labels is None or not labels.is_file():
        return {}
    table = read_signals(entries["score"].folder / SCORES)
    means = dict(zip(table.ids, table.values.mean(axis=1).tolist(), strict=True))
    return by_flaw(means, read_jsonl(labels))


def by_flaw(means: Mapping[str, float], labels: Sequence[Mapping[str, Any]]) -> dict[str, FlawDetection]:
    """Return AUC and interval for `all` flaws, then for each flaw by name.

    Args:
        means: row id -> mean score; NaN without a score.
        labels: rows with `id` and `flaw`, None for a sound row.

    Example:
        >>> labels = [{"id": i, "flaw": "truncated" if i < "c" else None} for i in "abcd"]
        >>> by_flaw({"a": 1.0, "b": 3.0, "c": 2.0, "d": 4.0}, labels)["truncated"]["auc"]
        0.75
    """
    scored = [(row["flaw"], means[row["id"]]) for row in labels if not np.isnan(means.get(row["id"], np.nan))]
    sound = np.array([mean for flaw, mean in scored if flaw is None])
    flaws = sorted({flaw for flaw, _ in scored if flaw is not None})
    found = {ALL: np.array([mean for flaw, mean in scored if flaw is not None])}
    found |= {name: np.array([mean for flaw, mean in scored if flaw == name]) for name in flaws}
    return {
        name: separation(sound, flawed)
        for name, flawed in found.items()
        if min(len(sound), len(flawed)) >= FEWEST
    }


def line(judge: str, found: Mapping[str, FlawDetection]) -> str:
    """Return the result in words; '' if there is none."""
    if ALL not in found:
        return ""
    total = found[ALL]
    each = ", ".join(f"{name} {100 * one['auc']:.1f}" for name, one in found.items() if name != ALL)
    return (
        f"judge={judge} scores a sound row above one with a known flaw in {100 * total['auc']:.1f} % of pairs "
        f"({100 * total['low']:.1f} to {100 * total['high']:.1f}; chance is 50); by flaw: {each}"
    )


def warning(found: Mapping[str, FlawDetection]) -> str:
    """Return what follows if the scores are not shown to be above chance, else ''."""
    if ALL not in found or found[ALL]["low"] > 0.5:
        return ""
    if found[ALL]["high"] < 0.5:
        return "these scores prefer flawed rows: do not select by them"
    return "these scores are not shown to tell sound rows from flawed ones: selecting by them may be no better than at random"


def separation(sound: np.ndarray, flawed: np.ndarray) -> FlawDetection:
    """Return the AUC, ties counting half, with the 95 % interval of DeLong et al. (1988) from the placements of the rows.

    Args:
        sound: mean scores of the sound rows, at least two; no NaN.
        flawed: those of the flawed rows, at least two.
    """
    together = ranks(np.concatenate([sound, flawed]))
    above = (together[: len(sound)] - ranks(sound)) / len(flawed)  # share of flawed rows below each sound one
    below = 1 - (together[len(sound) :] - ranks(flawed)) / len(sound)
    auc = float(above.mean())
    half = NormalDist().inv_cdf(0.975) * np.sqrt(
        above.var(ddof=1) / len(sound) + below.var(ddof=1) / len(flawed)
    )
    return FlawDetection(
        n_sound=len(sound),
        n_flawed=len(flawed),
        auc=round(auc, 4),
        low=round(max(0.0, auc - half), 4),
        high=round(min(1.0, auc + half), 4),
    )
