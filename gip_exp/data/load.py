"""People's rows into a pool and a test set, from files or from the hub, and what is said about them on the way."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gip_exp.config.data import Hub, RowsData
from gip_exp.data import rows
from gip_exp.errors import UserError
from gip_exp.models.hub import missing_dataset
from gip_exp.stage import Job

REMEDY = "mend or remove them, or leave them out (data.drop_broken=true)"
MOST_PLACES = 3
MOST_EMPTY = 0.5  # of the rows: beyond that it is the wrong column rather than a few rows without an answer


@dataclass(frozen=True)
class Source:
    """The rows as read, before anything is made of them."""

    title: str
    train: list[rows.Placed]
    test: list[rows.Placed]


@dataclass(frozen=True)
class LoadedRows:
    """Examples, where each of the pool's comes from, and the pool's rows as they were, all in one order."""

    pool: list[rows.Example]
    test: list[rows.Example]
    origins: list[dict[str, Any]]
    originals: list[Any]

    def only(self, rows: Iterable[int]) -> "LoadedRows":
        """The same with these rows of the pool alone."""
        kept = list(rows)
        return replace(
            self,
            pool=[self.pool[row] for row in kept],
            origins=[self.origins[row] for row in kept],
            originals=[self.originals[row] for row in kept],
        )


def hub_of(data: RowsData) -> Hub | None:
    """The hub data set that the rows come from; None for files."""
    hub = data.hub or Hub(name=None)
    if data.path is not None:
        name = rows.hub_name(data.path)
        return hub.model_copy(update={"name": name}) if name else None
    return hub if hub.name else None


def files_of(data: RowsData) -> rows.Files:
    """The local files that the rows come from."""
    assert data.path is not None
    config = data.hub.config if data.hub else None
    return rows.find_files(Path(data.path), allow_missing=data.allow_missing_shards, config=config)


def missing_data(data: RowsData) -> list[str]:
    """What this machine lacks to get the rows."""
    hub = hub_of(data)
    if hub is None or hub.name is None:
        return (
            []
            if data.path
            else ["no data: give data.path=FILE_OR_FOLDER, or data.path=OWNER/NAME for a data set on the hub"]
        )
    problems = missing_dataset(hub.name, hub.revision)
    if problems and data.path is not None:
        return [f"data.path={data.path} is no file or folder here, and as a hub data set: {problems[0]}"]
    return problems


def load_rows(data: RowsData, job: Job) -> LoadedRows:
    """Read the rows. Raises UserError that names every row that cannot be used, unless `data.drop_broken`."""
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
    """The rows from the files or the hub. What is left out of them is told to `note`."""
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
    """One split of a hub data set. Raises UserError when the hub or the data set fails."""
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
    """Where every example comes from: source, number of the row in it, and its own id where the rows have ids."""
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
            f"{title}: left out {len(reading.empty):,} of {len(placed):,} rows (data.drop_empty), first "
            f"{reading.empty[0]}: the completion is empty"
        )
    if not reading.examples:
        raise UserError(f"{title}: no row is left; see the notes above for what was left out")
    return reading


def _check_empty(reading: rows.Reading, n: int, title: str) -> None:
    if len(reading.empty) > MOST_EMPTY * n:
        raise UserError(
            f"{title}: the completion is empty in {len(reading.empty):,} of {n:,} rows (first: {reading.empty[0]}): name "
            "the column of the answers (data.columns.prompt=COLUMN data.columns.completion=COLUMN), or remove these rows"
        )


def _describe(reading: rows.Reading, job: Job) -> None:
    """Notes on what people may not know of their rows."""
    n = len(reading.examples)
    for what, (count, first) in reading.found.items():
        job.note(f"{count:,} of {n:,} rows {what} (first: {first})")
    job.draft.facts["found"] = {what: count for what, (count, _) in reading.found.items()}


def _unused(placed: Sequence[rows.Placed], layout: rows.Layout, data: RowsData) -> str:
    used = {*layout.read, *data.metadata}
    unused = [column for column in rows.columns_of(placed) if column not in used]
    return f" (not read: {rows.listed_columns(unused)})" if unused else ""
