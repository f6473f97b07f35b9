"""Loading the user's rows from files or the hub as a pool and a test set."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from gip_exp.config.data import Hub, RowsData
from gip_exp.data import rows
from gip_exp.errors import UserError
from gip_exp.models.hub import missing_dataset, other_revision
from gip_exp.stage import Job
from gip_exp.storage.row_table import Collector, RowTable

REMEDY = "fix or remove them, or leave them out (data.drop_broken=true)"
MOST_PLACES = 3
MOST_EMPTY = 0.5  # above this share of empty completions, the column is probably wrong


EXAMPLE = ("id", "prompt", "completion"), ("turns", "tools")  # columns of text, and others
ORIGIN = ("id",), ("source", "row", "place", "own_id")
ORIGINAL = ("row",), ()


@dataclass(frozen=True)
class Source:
    """The rows of the source; they are read while they are iterated over, once."""

    title: str
    train: Iterator[rows.Placed]
    test: Iterator[rows.Placed]


@dataclass(frozen=True)
class LoadedRows:
    """Examples of pool and test set; for each pool row its source, and its JSON text if `data.keep_rows`.

    `left_out` has an entry for each training row without an example: it is broken, or its completion is empty.
    """

    pool: RowTable
    test: RowTable
    origins: RowTable
    originals: RowTable | None
    left_out: Sequence[dict[str, Any]] = ()

    def only(self, kept: slice | np.ndarray) -> "LoadedRows":
        """Return the pool rows of a slice, or those that are True in a mask (n,)."""

        def part(table: RowTable) -> RowTable:
            return table[kept] if isinstance(kept, slice) else table.take(np.flatnonzero(kept))

        originals = None if self.originals is None else part(self.originals)
        return replace(self, pool=part(self.pool), origins=part(self.origins), originals=originals)


def hub_of(data: RowsData) -> Hub | None:
    """Return the hub data set of the rows; None for files."""
    hub = data.hub or Hub(name=None)
    if data.path is not None:
        name = rows.hub_name(data.path)
        return hub.model_copy(update={"name": name}) if name else None
    return hub if hub.name else None


def files_of(data: RowsData) -> rows.Files:
    """Return the local files of the rows."""
    assert data.path is not None
    config = data.hub.config if data.hub else None
    return rows.find_files(Path(data.path), allow_missing=data.allow_missing_shards, config=config)


def missing_data(data: RowsData) -> list[str]:
    """Return a problem if the rows are not available, with the remedy."""
    hub = hub_of(data)
    if hub is None or hub.name is None:
        no_data = "no data: give data.path=FILE_OR_FOLDER, or data.path=OWNER/NAME for a data set on the hub"
        return [] if data.path else [no_data]
    problems = missing_dataset(hub.name, hub.revision)
    if problems and data.path is not None:
        return [f"data.path={data.path} is not a local file or folder, and as a hub data set: {problems[0]}"]
    return problems


def load_rows(data: RowsData, job: Job) -> LoadedRows:
    """Read the rows. Unless `data.drop_broken`, raises UserError that lists the rows that cannot be used."""
    source = read_source(data, job.note)
    first = rows.first_rows(source.train)
    layout = rows.find_layout(first, source.title, data.shape, data.columns.chosen())
    job.console.say(f"  {source.title}: {layout}{_unused(first, layout, data)}")
    job.draft.facts["shape"] = layout.shape
    pool, origins, originals = Collector(*EXAMPLE), Collector(*ORIGIN), Collector(*ORIGINAL)

    def keep(example: rows.Example, row: rows.Placed) -> None:
        pool.append(example)
        origins.append(origin_of(example, row, layout))
        if data.keep_rows:
            originals.append({"row": rows.as_json(row.row)})

    findings = _read(chain(first, source.train), layout, "train", source.title, keep, data=data, job=job)
    job.console.say(f"  {source.title}: {findings.n_rows:,} rows")
    job.draft.facts["n_read"] = findings.n_rows
    test = Collector(*EXAMPLE)
    if (first_test := next(source.test, None)) is not None:
        test_rows, title = chain([first_test], source.test), f"{source.title}, test rows"
        tested = _read(test_rows, layout, "test", title, lambda row, _: test.append(row), data=data, job=job)
        job.draft.facts["test_left_out"] = Counter(entry["why"] for entry in tested.left_out)
    _describe(findings, job)
    kept = originals.table() if data.keep_rows else None
    return LoadedRows(pool.table(), test.table(), origins.table(), kept, findings.left_out)


def read_source(data: RowsData, note: Callable[[str], None] = lambda _: None) -> Source:
    """Read the rows from the files or the hub; `note` is called with notes on what is not read."""
    hub = hub_of(data)
    if hub is not None:
        test = _from_hub(hub, hub.test_split) if hub.test_split else iter(())
        return Source(f"{hub.name} ({hub.split})", _from_hub(hub, hub.split), test)
    files = files_of(data)
    if files.left_out:
        note(files.left_out)
    test = rows.read_files(files.test, note) if files.test else iter(())
    return Source(files.title, rows.read_files(files.train, note), test)


def _from_hub(hub: Hub, split: str) -> Iterator[rows.Placed]:
    """Load a split of a hub data set. Raises UserError if this fails."""
    import httpx
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError

    assert hub.name is not None
    try:
        other = other_revision(hub.name, hub.config, hub.revision) if hub.revision else ""
        table = load_dataset(hub.name, hub.config, split=split, revision=hub.revision)
    except (DatasetsError, HfHubHTTPError, httpx.HTTPError, OSError, ValueError) as error:
        raise UserError(
            f"the data set {hub.name} (config {hub.config}, split {split}, revision {hub.revision or 'newest'}) "
            f"cannot be loaded ({type(error).__name__}: {' '.join(str(error).split())[:300]}): set data.hub.config=NAME "
            "or data.hub.split=NAME, or give local files (data.path=FILE_OR_FOLDER)"
        ) from error
    if other:
        raise UserError(
            f"the data set {hub.name}: the hub cannot be reached, and the local cache holds revision {other} instead of "
            f"data.hub.revision={hub.revision}: go online once, set data.hub.revision={other}, or give local files "
            "(data.path=FILE_OR_FOLDER)"
        )
    return rows.placed(rows.dataset_rows(table), f"{hub.name} ({split})")


def origin_of(example: rows.Example, row: rows.Placed, layout: rows.Layout) -> dict[str, Any]:
    """Return the source of an example: source, row number in it, and the row's own id if the rows have ids."""
    origin = {"id": example["id"], "source": row.source, "row": row.number, "place": row.place}
    return origin | ({"own_id": rows.own_id(row.row, layout)} if layout.own_id else {})


def _read(
    placed: Iterable[rows.Placed],
    layout: rows.Layout,
    split: str,
    title: str,
    keep: Callable[[rows.Example, rows.Placed], None],
    *,
    data: RowsData,
    job: Job,
) -> rows.Findings:
    """Convert rows, and call `keep` with each example and its row; note what is left out."""
    findings = rows.Findings()
    for example, row in rows.converted(placed, layout, split, findings, drop_empty=data.drop_empty):
        keep(example, row)
    if findings.broken:
        if not data.drop_broken:
            raise rows.broken_rows(title, findings.broken, REMEDY)
        first = "; ".join(findings.broken[:MOST_PLACES])
        job.note(
            f"{title}: {len(findings.broken):,} broken rows are left out (data.drop_broken; first: {first})"
        )
    if findings.empty:
        _check_empty(findings, title)
        job.note(
            f"{title}: {len(findings.empty):,} of {findings.n_rows:,} rows are left out because their completion is empty "
            f"(data.drop_empty; first: {findings.empty[0]})"
        )
    if not findings.n_examples:
        todo = "fix the rows, or name their columns (data.columns)"
        raise UserError(f"{title}: no row is left; see the notes above for what was left out: {todo}")
    return findings


def _check_empty(findings: rows.Findings, title: str) -> None:
    empty, n = findings.empty, findings.n_rows
    if len(empty) > MOST_EMPTY * n:
        raise UserError(
            f"{title}: the completion is empty in {len(empty):,} of {n:,} rows (first: {empty[0]}): give "
            "the column of the answers (data.columns.prompt=COLUMN data.columns.completion=COLUMN), or remove these rows"
        )


def _describe(findings: rows.Findings, job: Job) -> None:
    """Note the special content of rows (several turns, tools, ...)."""
    n = findings.n_examples
    for what, (count, first) in findings.found.items():
        job.note(f"{count:,} of {n:,} rows {what} (first: {first})")
    job.draft.facts["found"] = {what: count for what, (count, _) in findings.found.items()}


def _unused(placed: Sequence[rows.Placed], layout: rows.Layout, data: RowsData) -> str:
    used = {*layout.read, *data.metadata}
    unused = [column for column in rows.columns_of(placed) if column not in used]
    return f" (not read: {rows.listed_columns(unused)})" if unused else ""
