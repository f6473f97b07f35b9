"""`data`: the pool and the test set as examples.

Writes

- `pool.arrow`, `test.jsonl`: id, prompt, completion; turns and tools of conversations;
- `origins.arrow`: source of each pool row (id, source, row, own id);
- `labels.jsonl`: flaw of each row with `data.flawed`, and skill in a generated pool, for the report; no judge, embedder
  or selector reads it;
- `rows.arrow`: with `data.keep_rows`, the original rows of the pool as JSON;
- `left_out.jsonl`: rows left out because they are broken or have no completion, as copies, or because they contain a
  test question (id if they have one, row, why, of which row, how much).

`data/metadata` holds the columns of `data.metadata`. It is a separate stage, so that a change of columns does not
invalidate other outputs.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gip_exp.artifacts import (
    CATEGORIES,
    LABELS,
    LEFT_OUT,
    METADATA,
    METADATA_STAGE,
    ORIGINS,
    POOL,
    ROWS,
    TEST,
    read_origins,
    row_name,
)
from gip_exp.config import Config
from gip_exp.config.base import content
from gip_exp.config.data import ArithmeticData, RowsData
from gip_exp.console import Console
from gip_exp.data import copies, flaws, load, overlap, rows
from gip_exp.data.generated import generated_rows
from gip_exp.data.metadata import read_metadata
from gip_exp.errors import UserError
from gip_exp.stage import Entries, Job, Stage
from gip_exp.storage.files import file_digest, write_jsonl
from gip_exp.storage.row_table import RowTable, collected
from gip_exp.storage.store import Draft
from selection.signals import SignalTable, write_signals

REASONS = {
    "repeated": "they repeat the texts of an earlier row",
    "near_copies": "they are near-copies of an earlier row",
    "contaminated": f"they share {overlap.LENGTHS[-1]} words in a row with a test question",
}


def _settings(config: Config, _: Entries) -> dict[str, Any]:
    data = config.data
    if isinstance(data, ArithmeticData):
        return content(data)
    own = {name: value for name, value in content(data).items() if name != "metadata"}  # a separate stage
    if hub := load.hub_of(data):
        return {**own, "hub": content(hub)}
    if data.path is None:
        return own
    files = load.files_of(data)
    return {
        **own,
        "hub": None,  # the digests identify local files
        "train": _digests(files.train),
        "test": _digests(files.test),
    }


def _digests(paths: Sequence[Path]) -> str | list[str] | None:
    """Return the digest of a single file, a list of digests for several, None for none."""
    try:
        digests = [file_digest(path) for path in paths]
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from None
    return digests if len(digests) > 1 else next(iter(digests), None)


@dataclass(frozen=True)
class _Rows:
    """The rows that the stage writes, one table per file; empty ones are not written, except the test set."""

    pool: RowTable
    test: Sequence[rows.Example]
    labels: Sequence[dict[str, Any]] = ()
    origins: RowTable | None = None
    originals: RowTable | None = None
    left_out: Sequence[dict[str, Any]] = ()


def read(config: Config, console: Console) -> Callable[[Draft], None]:
    """Read the rows, and return a function that writes them, so that errors occur before anything is written.

    Raises:
        UserError: lists the rows that cannot be used.
    """
    draft = Draft(Path())  # only for facts and notes
    found = _read(Job(config, {}, draft, console))

    def write(into: Draft) -> None:
        into.started = draft.started
        into.facts.update(draft.facts)
        into.notes.extend(draft.notes)
        _write(found, into.folder)

    return write


def _build(job: Job) -> None:
    read(job.config, job.console)(job.draft)


def _read(job: Job) -> _Rows:
    data = job.config.data
    if isinstance(data, ArithmeticData):
        pool, test, labels = generated_rows(data)
        found = _Rows(collected(pool[: data.limit], *load.EXAMPLE), test, labels)
    else:
        loaded = load.load_rows(data, job)
        counts = Counter(entry["why"] for entry in loaded.left_out)
        if data.limit is not None and len(loaded.pool) > data.limit:
            counts["limit"] = len(loaded.pool) - data.limit
            job.note(
                f"only the first {data.limit:,} of {len(loaded.pool):,} rows are used (data.limit): in the order of the file, "
                "so they may be unlike the rest"
            )
            loaded = loaded.only(slice(data.limit))
        left_out = _left_out(job, loaded, data)
        job.draft.facts["left_out"] = {**counts, **job.draft.facts["left_out"]}
        if left_out:
            kept = np.ones(len(loaded.pool), dtype=bool)
            kept[list(left_out)] = False
            loaded = loaded.only(kept)
        excluded = [*loaded.left_out, *(left_out[row] for row in sorted(left_out))]
        changed, labels = _with_flaws(job, loaded.pool, data)
        found = _Rows(changed, loaded.test, labels, loaded.origins, loaded.originals, excluded)
    job.draft.facts.update(n_rows=len(found.pool), n_test=len(found.test))
    return found


def _with_flaws(job: Job, pool: RowTable, data: RowsData) -> tuple[RowTable, list[dict[str, Any]]]:
    """Return the pool, with flaws in a share `data.flawed` of its rows, and their labels; note what was done."""
    if not data.flawed:
        return pool, []
    changed, labels = flaws.flawed_pool(pool, data.flawed, data.flaw_seed)
    n = sum(label["flaw"] is not None for label in labels)
    job.note(
        f"{n:,} of {len(pool):,} rows were made flawed (data.flawed={data.flawed}): {flaws.counted(labels)}"
    )
    return changed, labels


def _write(found: _Rows, folder: Path) -> None:
    found.pool.write(folder / POOL)
    write_jsonl(folder / TEST, found.test)
    if found.labels:
        write_jsonl(folder / LABELS, found.labels)
    if found.origins is not None:
        found.origins.write(folder / ORIGINS)
    if found.originals is not None:
        found.originals.write(folder / ROWS)
    if found.left_out:
        write_jsonl(folder / LEFT_OUT, found.left_out)


def _left_out(job: Job, found: load.LoadedRows, data: RowsData) -> dict[int, dict[str, Any]]:
    """Return the pool rows that the config drops, as row number -> entry of `left_out.jsonl`."""
    pool, origins = found.pool, found.origins
    reasons: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    equal = copies.equal_rows(pool)
    if data.repeated == "drop":
        reasons["repeated"] = [(copy.row, _duplicate_of(pool, origins, copy.of)) for copy in equal]
    elif equal:
        job.note(
            f"{len(equal):,} of {len(pool):,} rows repeat the texts of an earlier row (data.repeated=drop leaves them "
            f"out; first: {row_name(origins[equal[0].row])} repeats {row_name(origins[equal[0].of])})"
        )
    if data.near_copies is not None:
        near = copies.near_rows(pool, data.near_copies, but=[copy.row for copy in equal])
        reasons["near_copies"] = [
            (copy.row, {**_duplicate_of(pool, origins, copy.of), "similarity": copy.similarity})
            for copy in near
        ]
    if data.contaminated == "drop":
        reasons["contaminated"] = [
            (
                match.row,
                {
                    "of": found.test[match.test]["id"],
                    "of_row": found.test[match.test]["id"],
                    "words": match.words,
                    "text": match.text,
                },
            )
            for match in overlap.find_overlap(pool, found.test)
            if match.test_part == "prompt" and match.counts(overlap.LENGTHS[-1])
        ]
    return _first_reasons(job, origins, reasons)


def _duplicate_of(pool: RowTable, origins: RowTable, row: int) -> dict[str, str]:
    return {"of": pool[row]["id"], "of_row": row_name(origins[row])}


def _first_reasons(
    job: Job, origins: RowTable, reasons: dict[str, list[tuple[int, dict[str, Any]]]]
) -> dict[int, dict[str, Any]]:
    """Return the first reason for each row to be left out; note and count them."""
    left_out: dict[int, dict[str, Any]] = {}
    counts = {}
    for reason, found in reasons.items():
        new = {
            row: {
                "id": origins[row]["id"],
                "row": row_name(origins[row]),
                "source": origins[row]["source"],
                "source_row": origins[row]["row"],
                "why": reason,
                **details,
            }
            for row, details in found
            if row not in left_out
        }
        counts[reason] = len(new)
        if new:
            first = next(iter(new.values()))
            job.note(
                f"{len(new):,} of {len(origins):,} rows are left out: {REASONS[reason]} (data.{reason}="
                f"{getattr(job.config.data, reason)}; first: {first['row']}, of {first['of_row']})"
            )
        left_out |= new
    if len(left_out) == len(origins):
        raise UserError(
            "no row of the pool is left; see the notes above for what was left out: give more rows"
        )
    job.draft.facts["left_out"] = counts
    return left_out


def _missing(config: Config) -> list[str]:
    return load.missing_data(config.data) if isinstance(config.data, RowsData) else []


def _metadata_settings(config: Config, _: Entries) -> dict[str, Any]:
    assert isinstance(config.data, RowsData)
    return {"columns": list(config.data.metadata)}


def _build_metadata(job: Job) -> None:
    """Read the source of the rows again, for the metadata of the pool rows."""
    data = job.config.data
    assert isinstance(data, RowsData)
    origins = read_origins(job.inputs)
    assert origins is not None
    found = read_metadata(list(_rows_of(origins, data)), data.metadata)
    ids = tuple(origins.ids)
    if found.numbers:
        values = np.column_stack(list(found.numbers.values()))
        write_signals(SignalTable(ids, tuple(found.numbers), values), job.folder / METADATA)
    names, columns = list(found.categories), zip(*found.categories.values(), strict=True)
    write_jsonl(
        job.folder / CATEGORIES,
        [
            {"id": name, **dict(zip(names, cells, strict=True))}
            for name, cells in zip(ids, columns, strict=False)
        ],
    )
    for note in found.notes:
        job.note(note)
    job.draft.facts.update(numbers=list(found.numbers), categories=names)


def _rows_of(origins: RowTable, data: RowsData) -> Iterator[rows.Placed]:
    """Yield the source row of each pool row, reduced to the columns of `data.metadata` after the first rows.

    Both are in the order of the source, so the source is read once and not kept. The first rows are whole: a message on
    an unknown column lists the columns that exist.
    """
    source = load.read_source(data).train
    for number, origin in enumerate(origins):
        wanted = origin["source"], origin["row"]
        row = next((row for row in source if (row.source, row.number) == wanted), None)
        if row is None:
            raise UserError(f"data.path={data.path} changed while it was read ({wanted}): run again")
        if number >= rows.LOOKED_AT and isinstance(row.row, Mapping):
            row = row._replace(row={name: row.row[name] for name in data.metadata if name in row.row})
        yield row


STAGE = Stage("data", lambda _: (), _settings, _build, _missing)
COLUMNS = Stage(METADATA_STAGE, lambda _: ("data",), _metadata_settings, _build_metadata, _missing)


def stages(config: Config) -> list[Stage]:
    """Return `data`, and `data/metadata` if `data.metadata` names columns."""
    columns = isinstance(config.data, RowsData) and config.data.metadata
    return [STAGE, COLUMNS] if columns else [STAGE]
