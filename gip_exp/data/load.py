"""Loading the user's rows from files or the hub as a pool and a test set."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gip_exp.config.data import Hub, RowsData
from gip_exp.data import rows
from gip_exp.errors import UserError
from gip_exp.models.hub import missing_dataset
from gip_exp.stage import Job

REMEDY = "fix or remove them, or leave them out (data.drop_broken=true)"
MOST_PLACES = 3
MOST_EMPTY = 0.5  # above this share of empty completions, the column is probably wrong


@dataclass(frozen=True)
class Source:
    """The rows as read from the source."""

    title: str
    train: list[rows.Placed]
    test: list[rows.Placed]


@dataclass(frozen=True)
class LoadedRows:
    """Examples of pool and test set; sources and original rows of the pool, in its order."""

    pool: list[rows.Example]
    test: list[rows.Example]
    origins: list[dict[str, Any]]
    originals: list[Any]

    def only(self, rows: Iterable[int]) -> "LoadedRows":
        """Return a copy with only these pool rows."""
        kept = list(rows)
        return replace(
            self,
            pool=[self.pool[row] for row in kept],
            origins=[self.origins[row] for row in kept],
            originals=[self.originals[row] for row in kept],
        )


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
    title = source.title
    layout = rows.find_layout(source.train, title, data.shape, data.columns.chosen())
    job.console.say(f"  {title}: {len(source.train):,} rows; {layout}{_unused(source.train, layout, data)}")
    job.draft.facts["shape"] = layout.shape
    reading = _read(source.train, layout, "train", title=title, data=data, job=job)
    test = (
        _read(source.test, layout, "test", title=f"{title}, test rows", data=data, job=job)
        if source.test
        else None
    )
    _describe(reading, job)
    return LoadedRows(
        reading.examples,
        test.examples if test else [],
        origins_of(reading, layout),
        [placed.row for placed in reading.rows],
    )


def read_source(data: RowsData, note: Callable[[str], None] = lambda _: None) -> Source:
    """Read the rows from the files or the hub; `note` is called with notes on what is not read."""
    hub = hub_of(data)
    if hub is not None:
        title = f"{hub.name} ({hub.split})"
        test = _from_hub(hub, hub.test_split) if hub.test_split else []
        return Source(title, _from_hub(hub, hub.split), test)
    files = files_of(data)
    if files.left_out:
        note(files.left_out)
    return Source(files.title, rows.read_files(files.train, note), rows.read_files(files.test, note))


def _from_hub(hub: Hub, split: str) -> list[rows.Placed]:
    """Load a split of a hub data set. Raises UserError if this fails."""
    import httpx
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError

    try:
        table = load_dataset(hub.name, hub.config, split=split, revision=hub.revision)
    except (DatasetsError, HfHubHTTPError, httpx.HTTPError, OSError, ValueError) as error:
        raise UserError(
            f"the data set {hub.name} (config {hub.config}, split {split}, revision {hub.revision or 'newest'}) "
            f"cannot be loaded ({type(error).__name__}: {' '.join(str(error).split())[:300]}): set data.hub.config=NAME "
            "or data.hub.split=NAME, or give local files (data.path=FILE_OR_FOLDER)"
        ) from error
    return rows.placed(rows.dataset_rows(table), f"{hub.name} ({split})")


def origins_of(reading: rows.Reading, layout: rows.Layout) -> list[dict[str, Any]]:
    """Return the source of every example: source, row number in it, and the row's own id if the rows have ids."""
    origins = []
    for example, placed in zip(reading.examples, reading.rows, strict=True):
        origin = {"id": example["id"], "source": placed.source, "row": placed.number, "place": placed.place}
        origins.append(origin | ({"own_id": rows.own_id(placed.row, layout)} if layout.own_id else {}))
    return origins


def _read(
    placed: Sequence[rows.Placed], layout: rows.Layout, split: str, *, title: str, data: RowsData, job: Job
) -> rows.Reading:
    reading = rows.read_examples(placed, layout, split, drop_empty=data.drop_empty)
    if reading.broken:
        if not data.drop_broken:
            raise rows.broken_rows(title, reading.broken, REMEDY)
        first = "; ".join(reading.broken[:MOST_PLACES])
        job.note(
            f"{title}: {len(reading.broken):,} broken rows are left out (data.drop_broken; first: {first})"
        )
    if reading.empty:
        _check_empty(reading, len(placed), title)
        job.note(
            f"{title}: {len(reading.empty):,} of {len(placed):,} rows are left out because their completion is empty "
            f"(data.drop_empty; first: {reading.empty[0]})"
        )
    if not reading.examples:
        raise UserError(f"{title}: no row is left; see the notes above for what was left out")
    return reading


def _check_empty(reading: rows.Reading, n: int, title: str) -> None:
    if len(reading.empty) > MOST_EMPTY * n:
        raise UserError(
            f"{title}: the completion is empty in {len(reading.empty):,} of {n:,} rows (first: {reading.empty[0]}): give "
            "the column of the answers (data.columns.prompt=COLUMN data.columns.completion=COLUMN), or remove these rows"
        )


def _describe(reading: rows.Reading, job: Job) -> None:
    """Note the special content of rows (several turns, tools, ...)."""
    n = len(reading.examples)
    for what, (count, first) in reading.found.items():
        job.note(f"{count:,} of {n:,} rows {what} (first: {first})")
    job.draft.facts["found"] = {what: count for what, (count, _) in reading.found.items()}


def _unused(placed: Sequence[rows.Placed], layout: rows.Layout, data: RowsData) -> str:
    used = {*layout.read, *data.metadata}
    unused = [column for column in rows.columns_of(placed) if column not in used]
    return f" (not read: {rows.listed_columns(unused)})" if unused else ""
