"""The published tables of results are those of the runs packed in tests/evidence, made again by the report."""

import csv
import tarfile

import pytest
from conftest import ROOT

from gip_exp.report.__main__ import main

EXACT, TOKENS, NUMBERS = "gsm8k/exact_match", "answer_nll/completion", "answer_nll/numbers"
WHOLE = {"Full data", "Base, not tuned"}  # without a budget


def number(value: str, form: str) -> str:
    """Return the value as the pages show it: no zero before the point of a share."""
    return format(float(value), form).replace("0.", ".", 1) if value else ""


def difference(row: dict[str, str], form: str, factor: float = 1.0) -> str:
    """Return the difference to random with its interval, '' where there is none."""
    if not row["difference_random"]:
        return ""
    mean, low, high = (
        format(factor * float(row[f"{name}_random"]), form) for name in ("difference", "low", "high")
    )
    return f"{mean} ({low} to {high})"


# What a column shows: the metric of its row of report.csv (None: any), and its text.
COLUMNS = {
    "clean share": (None, lambda row: number(row["clean_share"], ".2f")),
    "skills (entropy, nats)": (
        None,
        lambda row: row["skill_entropy"] and f"{float(row['skill_entropy']):.2f}",
    ),
    "words a row": (None, lambda row: row["words_a_row"] and f"{float(row['words_a_row']):.0f}"),
    "exact match, %": (EXACT, lambda row: f"{100 * float(row['mean']):.1f}"),
    "95 % interval": (EXACT, lambda row: f"{100 * float(row['low']):.1f} to {100 * float(row['high']):.1f}"),
    "against random": (EXACT, lambda row: difference(row, "+.1f", 100)),
    "NLL on all tokens": (TOKENS, lambda row: number(row["mean"], ".3f")),
    "all tokens, against random": (TOKENS, lambda row: difference(row, "+.3f")),
    "NLL on number tokens": (NUMBERS, lambda row: number(row["mean"], ".3f")),
    "number tokens, against random": (NUMBERS, lambda row: difference(row, "+.3f")),
}


def published(name: str) -> dict[str, list[dict[str, str]]]:
    """Return the tables below `<!-- evidence: NAME -->` in the report's page: heading of the first column -> rows."""
    tables = {}
    page = (ROOT / "gip_exp/report/README.md").read_text("utf-8")
    for part in page.split(f"<!-- evidence: {name} -->\n")[1:]:
        lines = [line for line in part.split("\n\n")[0].splitlines() if line.startswith("|")]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        tables[cells[0][0]] = [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]
    return tables


@pytest.mark.parametrize(
    "name", ["quickstart", "gsm8k_smollm2", "gsm8k_smollm2_exact", "gsm8k_smollm2_clean", "alpaca_smollm2"]
)
def test_the_published_tables_are_made_again_from_their_runs(name, tmp_path):
    with tarfile.open(ROOT / f"tests/evidence/{name}.tar.xz") as archive:
        archive.extractall(tmp_path / "runs" / name, filter="data")
    assert main([str(tmp_path)]) == 0
    rows = list(csv.DictReader((tmp_path / "report" / "report.csv").open(encoding="utf-8")))
    tables = published(name)
    shown = {(by, row[by]) for by, table in tables.items() for row in table}
    assert {method for _, method in shown} == {row["method"] for row in rows}
    assert {one for one in shown if one[1] not in WHOLE} == {
        (column(row), row["method"]) for row in rows if row["method"] not in WHOLE
    }
    found = {(column(row), row["method"], row["metric"]): row for row in rows}
    for by, table in tables.items():
        for row in table:
            of = "" if row[by] in WHOLE else by
            for heading, value in row.items():
                if heading in COLUMNS:
                    metric, text = COLUMNS[heading]
                    assert value == text(found[of, row[by], metric or NUMBERS]), (by, row[by], heading)


def column(row: dict[str, str]) -> str:
    """Return the heading of the first column of the table that shows a row of report.csv; '' for those of every budget."""
    return "" if row["method"] in WHOLE else f"{100 * float(row['budget']):g} % by"
