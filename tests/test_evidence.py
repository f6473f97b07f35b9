"""The published tables of results are those of the runs packed in tests/evidence, made again by the report."""

import csv
import tarfile

import pytest
from conftest import ROOT

from gip_exp.report.__main__ import main

# What a column shows: the metric, and its text from a row of report.csv. METRIC is the headline of the table.
NLL, HEADLINE = "answer_nll/numbers", "headline"


def number(value: str, form: str, factor: float = 1.0) -> str:
    """Return the value as the pages show it: no zero before the point of a number below one."""
    return format(factor * float(value), form).replace("0.", ".", 1) if value else ""


def interval(row: dict[str, str], names: tuple[str, str], form: str, factor: float) -> str:
    low, high = (format(factor * float(row[name]), form) for name in names)
    return f"{low} to {high}"


def against_random(row: dict[str, str]) -> str:
    if not row["difference_random"]:
        return ""
    bounds = interval(row, ("low_random", "high_random"), "+.1f", 100)
    return f"{100 * float(row['difference_random']):+.1f} ({bounds})"


COLUMNS = {
    "clean share": (HEADLINE, lambda row: number(row["clean_share"], ".2f")),
    "skills (entropy, nats)": (HEADLINE, lambda row: f"{float(row['skill_entropy']):.2f}" if row["skill_entropy"] else ""),
    "words a row": (HEADLINE, lambda row: f"{float(row['words_a_row']):.0f}" if row["words_a_row"] else ""),
    "exact match, %": ("gsm8k/exact_match", lambda row: f"{100 * float(row['mean']):.1f}"),
    "95 % interval": (HEADLINE, lambda row: interval(row, ("low", "high"), ".1f", 100)),
    "against random": (HEADLINE, against_random),
    "NLL on number tokens": (NLL, lambda row: number(row["mean"], ".3f")),
}  # fmt: skip


def published(name: str) -> list[dict[str, str]]:
    """Return the rows of the table below `<!-- evidence: NAME -->` in the report's page."""
    text = (ROOT / "gip_exp/report/README.md").read_text("utf-8").split(f"<!-- evidence: {name} -->\n")[1]
    lines = [line for line in text.split("\n\n")[0].splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


@pytest.mark.parametrize("name", ["quickstart"])
def test_a_published_table_is_made_again_from_its_runs(name, tmp_path):
    with tarfile.open(ROOT / f"tests/evidence/{name}.tar.xz") as archive:
        archive.extractall(tmp_path / "runs" / name, filter="data")
    assert main([str(tmp_path)]) == 0
    rows = list(csv.DictReader((tmp_path / "report" / "report.csv").open(encoding="utf-8")))
    found = {(row["method"], row["metric"]): row for row in rows}
    table = published(name)
    headline = next(COLUMNS[column][0] for column in table[0] if column in COLUMNS and column.endswith("%"))
    assert {row["10 % by"] for row in table} == {row["method"] for row in rows}
    for row in table:
        for column, shown in row.items():
            if column in COLUMNS:
                metric, text = COLUMNS[column]
                made = text(found[row["10 % by"], headline if metric == HEADLINE else metric])
                assert shown == made, (row["10 % by"], column)
