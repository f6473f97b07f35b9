"""`data`: the pool and the test set as examples, whatever they came from.

Writes `pool.jsonl` and `test.jsonl` (id, prompt, completion) and, where the pool's makers know them, `labels.jsonl`
(id, skill, flaw). Labels describe a subset in the report; no judge, embedder or selector reads that file. With
`data.metadata`, `metadata.parquet` holds those columns of the pool's rows; with `data.keep_rows`, `rows.jsonl` holds
the pool's rows as they were, in the same order. `copies.jsonl` lists the rows left out because they repeat another
(row, of, similarity), by id.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gip_exp.artifacts import LABELS, METADATA, POOL, ROWS, TEST
from gip_exp.config import Config
from gip_exp.config.base import content
from gip_exp.config.data import ArithmeticData, RowsData
from gip_exp.data import copies, load, rows
from gip_exp.data.metadata import Metadata
from gip_exp.errors import UserError
from gip_exp.stage import Entries, Job, Stage
from gip_exp.storage.files import file_digest, write_jsonl, write_text
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


def _build(job: Job) -> None:
    data = job.config.data
    metadata: Metadata = {}
    if isinstance(data, ArithmeticData):
        pool, test, labels = _arithmetic(data)
        write_jsonl(job.folder / LABELS, labels)
        pool = pool[: data.limit]
    else:
        found = load.load_rows(data, job)
        found = found.only(range(len(found.pool))[: data.limit])
        found = found.only(_different(job, found.pool, data))
        pool, test, metadata = found.pool, found.test, found.metadata
        if data.keep_rows:
            write_text(job.folder / ROWS, "".join(map(rows.as_json, found.originals)))
    if metadata:
        ids = tuple(example["id"] for example in pool)
        values = np.column_stack(list(metadata.values()))
        write_signals(SignalTable(ids, tuple(metadata), values), job.folder / METADATA)
    _check_overlap(job, pool, test)
    write_jsonl(job.folder / POOL, pool)
    write_jsonl(job.folder / TEST, test)
    job.draft.facts.update(n_rows=len(pool), n_test=len(test))


def _different(job: Job, pool: list[rows.Example], data: RowsData) -> list[int]:
    """The rows of the pool without the copies that the config drops; those are listed in `copies.jsonl`."""
    equal = copies.equal_rows(pool)
    near: list[copies.Copy] = []
    if data.near_copies is not None:
        near = copies.near_rows(pool, data.near_copies, but=[copy.row for copy in equal])
    dropped = sorted([*(equal if data.repeated == "drop" else ()), *near], key=lambda copy: copy.row)
    if equal:
        done = "are left out" if data.repeated == "drop" else "stay (data.repeated=drop leaves them out)"
        job.note(
            f"{len(equal):,} of {len(pool):,} rows repeat the texts of an earlier row and {done} "
            f"(first: {_pair(pool, equal[0])})"
        )
    if near:
        job.note(
            f"{len(near):,} of {len(pool):,} rows are near-copies of an earlier row (data.near_copies="
            f"{data.near_copies:g}) and are left out (first: {_pair(pool, near[0])})"
        )
    if dropped:
        write_jsonl(job.folder / "copies.jsonl", [copy.named(pool) for copy in dropped])
    job.draft.facts["dropped"] = {"repeated": len(dropped) - len(near), "near_copies": len(near)}
    left_out = {copy.row for copy in dropped}
    return [row for row in range(len(pool)) if row not in left_out]


def _pair(pool: list[rows.Example], copy: copies.Copy) -> str:
    return f"{pool[copy.row]['id']} repeats {pool[copy.of]['id']}"


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
