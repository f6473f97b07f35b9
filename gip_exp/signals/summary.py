"""The summary of a signal table: statistics of every column, and correlations of the columns."""

from typing import Any

import numpy as np

from selection.signals import SignalTable

DIGITS = 4
HEAD = ("attribute", "n", "mean", "sd", "min", "median", "max", "distinct")


def summary(table: SignalTable) -> dict[str, Any]:
    """Summarise a table as JSON values: n, n_unscored (rows with a missing value), columns, Spearman correlations.

    A correlation is over the rows in which both columns have a value; null if one of them is constant.
    """
    columns = {name: _column(values) for name, values in zip(table.names, table.values.T, strict=True)}
    return {
        "n": len(table.ids),
        "n_unscored": int((~table.scored).sum()),
        "columns": columns,
        "correlation": {
            "kind": "spearman",
            "names": list(table.names),
            "matrix": _correlations(table.values),
        },
    }


def _column(values: np.ndarray) -> dict[str, Any]:
    known = values[~np.isnan(values)]
    if not len(known):
        return {"n": 0, "distinct": 0} | dict.fromkeys(("mean", "sd", "min", "q25", "median", "q75", "max"))
    low, q25, median, q75, high = np.quantile(known, [0, 0.25, 0.5, 0.75, 1])
    numbers = {
        "mean": known.mean(),
        "sd": known.std(),
        "min": low,
        "q25": q25,
        "median": median,
        "q75": q75,
        "max": high,
    }
    rounded = {name: _rounded(float(value)) for name, value in numbers.items()}
    return {"n": len(known), "distinct": len(np.unique(known)), **rounded}


def _rounded(value: float) -> float:
    """Round to four decimals, or to four significant digits below 1."""
    return round(value, DIGITS) if abs(value) >= 1 or value == 0 else float(f"{value:.{DIGITS}g}")


def _correlations(values: np.ndarray) -> list[list[float | None]]:
    k = values.shape[1]
    matrix: list[list[float | None]] = [[None] * k for _ in range(k)]
    for i in range(k):
        for j in range(i + 1):
            both = ~np.isnan(values[:, [i, j]]).any(axis=1)
            matrix[i][j] = matrix[j][i] = _spearman(values[both, i], values[both, j])
    return matrix


def _spearman(x: np.ndarray, y: np.ndarray) -> float | None:
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return round(float(np.corrcoef(ranks(x), ranks(y))[0, 1]), DIGITS)


def ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 1, with mean ranks for ties, like `scipy.stats.rankdata`, whose import is slow."""
    _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[position]


def markdown(title: str, facts: dict[str, Any]) -> str:
    """Format the summary as two Markdown tables."""
    lines = [f"# {title}", "", f"{facts['n']:,} rows, {facts['n_unscored']:,} of them unscored.", ""]
    lines += _rows(
        HEAD, [[name, *(_shown(c[key]) for key in HEAD[1:])] for name, c in facts["columns"].items()]
    )
    names, matrix = facts["correlation"]["names"], facts["correlation"]["matrix"]
    if len(names) > 1:
        rows = [[name, *map(_shown, row)] for name, row in zip(names, matrix, strict=True)]
        lines += ["", "Spearman correlation:", "", *_rows(("", *names), rows)]
    return "\n".join(lines) + "\n"


def _rows(head: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    ruled = ["|" + "|".join(["---"] + ["---:"] * (len(head) - 1)) + "|"]
    return [_row(list(head)), *ruled, *map(_row, rows)]


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
