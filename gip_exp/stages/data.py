"""`data`: the pool and the test set as examples, whatever they came from.

Writes `pool.jsonl` and `test.jsonl` (id, prompt, completion) and, where the pool's makers know them, `labels.jsonl`
(id, skill, flaw). Labels describe a subset in the report; no judge, embedder or selector reads that file. With
`data.metadata`, `metadata.parquet` holds those columns of the pool's rows; with `data.keep_rows`, `rows.jsonl` holds
the pool's rows as they were, in the same order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gip_exp.artifacts import LABELS, METADATA, POOL, ROWS, TEST
from gip_exp.config import Config
from gip_exp.config.base import content
from gip_exp.config.data import ArithmeticData, RowsData
from gip_exp.console import Console
from gip_exp.data import load, rows
from gip_exp.data.metadata import Metadata
from gip_exp.errors import UserError
from gip_exp.stage import Entries, Job, Stage
from gip_exp.storage.files import file_digest, write_jsonl, write_text
from gip_exp.storage.store import Draft
from selection.signals import SignalTable, write_signals


def _settings(config: Config, _: Entries) -> dict[str, Any]:
    data = config.data
    if isinstance(data, ArithmeticData):
        return content(data)
    if hub := load.hub_of(data):
        return {**content(data), "hub": content(hub)}
    if data.path is None:
        return content(data)
    files = rows.find_files(Path(data.path))
    return {
        **content(data),
        "hub": None,  # local files say all there is to say
        "train": _digests(files.train),
        "test": _digests(files.test),
    }


def _digests(paths: Sequence[Path]) -> str | list[str] | None:
    """Of one file its digest, of several a list, of none None."""
    try:
        digests = [file_digest(path) for path in paths]
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from None
    return digests if len(digests) > 1 else next(iter(digests), None)


@dataclass(frozen=True)
class _Rows:
    """What the stage writes. `labels` and `originals` are empty where there are none."""

    pool: list[rows.Example]
    test: list[rows.Example]
    labels: list[dict[str, Any]]
    metadata: Metadata
    originals: list[Any]


def read(config: Config, console: Console) -> Callable[[Draft], None]:
    """Read the rows now; what is returned writes them. So unusable rows are refused before anything is written.

    Raises UserError that names the rows.
    """
    draft = Draft(Path())  # for facts and notes; nothing is written while reading
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
        found = _Rows(*_arithmetic(data), {}, [])
    else:
        loaded = load.load_rows(data, job)
        originals = loaded.originals[: data.limit] if data.keep_rows else []
        found = _Rows(loaded.pool, loaded.test, [], loaded.metadata, originals)
    if data.limit is not None:
        found = replace(found, pool=found.pool[: data.limit])
    _check_overlap(job, found.pool, found.test)
    job.draft.facts.update(n_rows=len(found.pool), n_test=len(found.test))
    return found


def _write(found: _Rows, folder: Path) -> None:
    write_jsonl(folder / POOL, found.pool)
    write_jsonl(folder / TEST, found.test)
    if found.labels:
        write_jsonl(folder / LABELS, found.labels)
    if found.originals:
        write_text(folder / ROWS, "".join(map(rows.as_json, found.originals)))
    if found.metadata:
        ids = tuple(example["id"] for example in found.pool)
        write_signals(
            SignalTable(ids, tuple(found.metadata), _table(found.metadata, len(ids))), folder / METADATA
        )


def _arithmetic(data: ArithmeticData) -> tuple[list[rows.Example], list[rows.Example], list[dict[str, Any]]]:
    from gip_exp.data.arithmetic import make_pool, make_test

    problems = make_pool(data.n, data.seed, flawed=data.flawed)
    tests = make_test(data.n_test, data.test_seed, {problem.question for problem in problems})
    pool = [_example("train", i, problem) for i, problem in enumerate(problems)]
    test = [_example("test", i, problem) for i, problem in enumerate(tests)]
    labels = [
        {"id": example["id"], "skill": problem.skill, "flaw": problem.flaw}
        for example, problem in zip(pool + test, problems + tests, strict=True)
    ]
    return pool, test, labels


def _example(split: str, position: int, problem: Any) -> rows.Example:
    return {"id": f"{split}-{position:06d}", "prompt": problem.question, "completion": problem.answer}


def _table(metadata: Metadata, n: int) -> np.ndarray:
    """(n, k) float64: the first n values of every column."""
    return np.column_stack([values[:n] for values in metadata.values()])


def _check_overlap(job: Job, pool: list[rows.Example], test: list[rows.Example]) -> None:
    """A pool that holds test questions makes every accuracy worthless: say so."""
    asked = {example["prompt"] for example in pool}
    leaked = [example["id"] for example in test if example["prompt"] in asked]
    if leaked:
        job.note(
            f"{len(leaked)} of {len(test)} test prompts also stand in the training rows (first: {leaked[0]})"
        )


def _missing(config: Config) -> list[str]:
    return load.missing(config.data) if isinstance(config.data, RowsData) else []


STAGE = Stage("data", lambda _: (), _settings, _build, _missing)
