"""People's rows into a pool and a test set, from files or from the hub, and what is said about them on the way."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gip_exp.config.data import Hub, RowsData
from gip_exp.data import rows
from gip_exp.data.metadata import Metadata, numbers
from gip_exp.errors import UserError
from gip_exp.models.hub import missing_dataset
from gip_exp.stage import Job

REMEDY = "mend or remove them, or leave them out (data.drop_broken=true)"
MOST_PLACES = 3


@dataclass(frozen=True)
class LoadedRows:
    """Examples, the metadata of the pool, and the pool's rows as they were, all in one order."""

    pool: list[rows.Example]
    test: list[rows.Example]
    metadata: Metadata
    originals: list[Any]

    def only(self, rows: Iterable[int]) -> "LoadedRows":
        """The same with these rows of the pool alone."""
        kept = list(rows)
        return replace(
            self,
            pool=[self.pool[row] for row in kept],
            metadata={name: [values[row] for row in kept] for name, values in self.metadata.items()},
            originals=[self.originals[row] for row in kept],
        )


def hub_of(data: RowsData) -> Hub | None:
    """The hub data set that the rows come from; None for files."""
    hub = data.hub or Hub(name=None)
    if data.path is not None:
        name = rows.hub_name(data.path)
        return hub.model_copy(update={"name": name}) if name else None
    return hub if hub.name else None


def missing(data: RowsData) -> list[str]:
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
    hub = hub_of(data)
    title, train, test = _from_files(data) if hub is None else _from_hub(hub)
    layout = rows.find_layout(train, title, data.shape, data.columns.prompts, data.columns.completion)
    job.console.say(f"  {title}: {len(train):,} rows; {layout}{_unused(train, layout, data)}")
    job.draft.facts["shape"] = layout.shape
    reading = _read(train, layout, "train", title=title, data=data, job=job)
    _describe(reading, job)
    return LoadedRows(
        reading.examples,
        _read(test, layout, "test", title=f"{title}, test rows", data=data, job=job).examples if test else [],
        numbers(reading.rows, data.metadata, title),
        [row for _, row in reading.rows],
    )


def _from_files(data: RowsData) -> tuple[str, list[rows.Placed], list[rows.Placed]]:
    assert data.path is not None
    files = rows.find_files(Path(data.path))
    return files.title, rows.read_files(files.train), rows.read_files(files.test)


def _from_hub(hub: Hub) -> tuple[str, list[rows.Placed], list[rows.Placed]]:
    test = _load(hub, hub.test_split) if hub.test_split else []
    return f"{hub.name} ({hub.split})", _load(hub, hub.split), test


def _load(hub: Hub, split: str) -> list[rows.Placed]:
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
    return [(f"row {number}", row) for number, row in enumerate(table, 1)]


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
    if not reading.examples:
        raise UserError(f"{title}: no row is left; see the notes above for what was left out")
    return reading


def _describe(reading: rows.Reading, job: Job) -> None:
    """Notes on what people may not know of their rows."""
    n = len(reading.examples)
    if reading.empty:
        job.note(
            f"{len(reading.empty)} rows have an empty completion and are left out (first: {reading.empty[0]})"
        )
    if reading.several:
        job.note(
            f"{reading.several:,} of {n:,} rows are conversations of several turns: the last reply is the completion, "
            "all before it the prompt, as a transcript (User: ..., Assistant: ...)"
        )


def _unused(placed: Sequence[rows.Placed], layout: rows.Layout, data: RowsData) -> str:
    used = {*layout.prompt, layout.completion, *data.metadata}
    unused = [column for column in rows.columns_of(placed) if column not in used]
    return f" (not read: {rows.listed_columns(unused)})" if unused else ""
