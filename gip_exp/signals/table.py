"""Signal tables in the store, each with a summary and a figure.

An entry of the group `score` contains `scores.parquet` (id, and one column per signal, null if unscored), `summary.json`,
`summary.md` and `distribution.svg`. SOURCE_STAGE maps each source to its stage.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gip_exp.errors import UserError
from gip_exp.stage import Entries, Job
from gip_exp.storage.files import read_jsonl, write_json, write_text
from gip_exp.storage.store import Entry
from selection.signals import SignalTable, drop_constant_columns, read_signals, write_signals

SCORES, UNSCORED, SUMMARY, SMALL_TABLE, FIGURE = (
    "scores.parquet",
    "unscored.jsonl",
    "summary.json",
    "summary.md",
    "distribution",
)
SOURCE_STAGE = {
    "judge": "score",
    "self_consistency": "score/self_consistency",
    "self_compression": "score/self_compression",
    "metadata": "score/metadata",
    "mixture": "score/mixture",
}


def write_table(job: Job, title: str, table: SignalTable) -> None:
    """Write the table, its summary and its figure, with a note on constant columns."""
    from gip_exp.signals.figure import save_figure
    from gip_exp.signals.summary import markdown, summary

    write_signals(table, job.folder / SCORES)
    facts = summary(table)
    write_json(job.folder / SUMMARY, facts)
    write_text(job.folder / SMALL_TABLE, markdown(title, facts))
    save_figure(job.folder, FIGURE, title, table, facts)
    attributes = {name: {"mean": c["mean"], "sd": c["sd"]} for name, c in facts["columns"].items()}
    job.draft.facts.update(n=facts["n"], n_unscored=facts["n_unscored"], attributes=attributes)
    same = [f"{name} {c['mean']:g}" for name, c in facts["columns"].items() if c["distinct"] == 1]
    if same:
        job.note(f"not used as a signal, because every row has the same value: {', '.join(same)}")


def read_table(entry: Entry) -> SignalTable:
    """Read the table of an entry."""
    return read_signals(entry.folder / SCORES)


def informative(entry: Entry) -> SignalTable:
    """Read the columns that are not constant. Raises UserError if there are none."""
    try:
        return drop_constant_columns(read_table(entry)).table
    except ValueError:
        raise UserError(
            f"{_description(entry)} is the same for every row (rules may find no flaw in any), so the scores cannot rank "
            "rows: choose another judge, rubric or signal, or a selector without scores (selector=mp_sc)"
        ) from None


def _description(entry: Entry) -> str:
    source = str(entry.manifest.get("name", "score")).partition("/")[2]
    return f"every column of the signal {source}" if source else "every attribute of the judge"


def scores_of(entries: Entries, stage: str, ids: list[str]) -> np.ndarray:
    """Return the scores (n, k) of the rows `ids`, in their order, without constant columns; NaN if unscored."""
    return informative(entries[stage]).aligned(ids).values


def labels_of(column: str, ids: Sequence[str], *, texts: Path, numbers: Path) -> list[str | None]:
    """Return the values of a metadata column of the rows `ids` as text; None where a row has none.

    Args:
        column: A numeric or text column of `data.metadata`.
        ids: Ids of the wanted rows.
        texts: File of the text columns.
        numbers: File of the numeric columns.
    """
    found = {line["id"]: line[column] for line in read_jsonl(texts) if column in line}
    if found:
        return [found.get(name) for name in ids]
    table = read_signals(numbers)
    values = table.aligned(list(ids)).values[:, table.names.index(column)]
    return [None if np.isnan(value) else f"{value:g}" for value in values]
