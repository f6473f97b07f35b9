"""`data`: the pool and the test set as examples, whatever they came from.

Writes `pool.jsonl` and `test.jsonl` (id, prompt, completion) and, where the pool's makers know them, `labels.jsonl`
(id, skill, flaw). Labels describe a subset in the report; no judge, embedder or selector reads that file. With
`data.metadata`, `metadata.parquet` holds those columns of the pool's rows.
"""

from pathlib import Path
from typing import Any

import numpy as np

from gip_exp import rows
from gip_exp.config import Config
from gip_exp.config.inputs import ArithmeticData, Hub, RowsData
from gip_exp.config.section import content
from gip_exp.errors import UserError
from gip_exp.files import file_digest, read_jsonl, write_jsonl
from gip_exp.hub import missing_dataset
from gip_exp.metadata import Metadata, numbers
from gip_exp.stage import Entries, Job, Stage
from selection.signals import SignalTable, write_signals

POOL, TEST, LABELS, METADATA = "pool.jsonl", "test.jsonl", "labels.jsonl", "metadata.parquet"


def _settings(config: Config, _: Entries) -> dict[str, Any]:
    data = config.data
    if isinstance(data, ArithmeticData) or data.path is None:
        return content(data)
    train, test = rows.find_files(Path(data.path))
    return {
        **content(data),
        "hub": None,  # a local file says all there is to say
        "train": file_digest(train),
        "test": file_digest(test) if test else None,
    }


def _build(job: Job) -> None:
    data = job.config.data
    metadata: Metadata = {}
    if isinstance(data, ArithmeticData):
        pool, test, labels = _arithmetic(data)
        write_jsonl(job.folder / LABELS, labels)
    else:
        pool, test, metadata = _rows(data, job)
    if data.limit is not None:
        pool = pool[: data.limit]
    if metadata:
        ids = tuple(example["id"] for example in pool)
        write_signals(SignalTable(ids, tuple(metadata), _table(metadata, len(ids))), job.folder / METADATA)
    _check_overlap(job, pool, test)
    write_jsonl(job.folder / POOL, pool)
    write_jsonl(job.folder / TEST, test)
    job.draft.facts.update(n_rows=len(pool), n_test=len(test))


def _arithmetic(data: ArithmeticData) -> tuple[list[rows.Example], list[rows.Example], list[dict[str, Any]]]:
    from gip_exp.arithmetic import make_pool, make_test

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


def _rows(data: RowsData, job: Job) -> tuple[list[rows.Example], list[rows.Example], Metadata]:
    """(pool, test, metadata of the pool)."""
    if data.path is None:
        return _from_hub(data, job)
    train, test = rows.find_files(Path(data.path))
    pool_rows = rows.read_rows(train)
    shape = rows.detect_shape(pool_rows, train) if data.shape == "auto" else data.shape
    job.console.say(f"  {train.name}: {len(pool_rows):,} rows of shape {shape}")
    job.draft.facts["shape"] = shape
    pool_rows = _drop_empty(pool_rows, shape, data, job)
    pool = rows.to_examples(pool_rows, shape, train, "train")
    metadata = numbers(pool_rows, data.metadata, train)
    if test is None:
        return pool, [], metadata
    return pool, rows.to_examples(rows.read_rows(test), shape, test, "test"), metadata


def _drop_empty(
    pool_rows: list[tuple[int, Any]], shape: str, data: RowsData, job: Job
) -> list[tuple[int, Any]]:
    """Leave out rows without a completion where the data set is known to have some (`data.drop_empty`)."""
    if not data.drop_empty:
        return pool_rows
    kept, dropped = rows.without_empty(pool_rows, shape)
    if dropped:
        job.note(f"{len(dropped)} rows have an empty completion and are left out (first: line {dropped[0]})")
    return kept


def _from_hub(data: RowsData, job: Job) -> tuple[list[rows.Example], list[rows.Example], Metadata]:
    hub = data.hub
    if hub is None:
        raise UserError("data.path is null and data.hub names no data set: give data.path=FILE_OR_FOLDER")
    splits = {"train": "train", **({"test": hub.test_split} if hub.test_split else {})}
    found: dict[str, list[rows.Example]] = {"test": []}
    metadata: Metadata = {}
    for split, name in splits.items():
        table = _load(hub, name)
        numbered = list(enumerate(table, 1))
        source = f"{hub.name} ({name})"
        shape = rows.detect_shape(numbered, source) if data.shape == "auto" else data.shape
        if split == "train":
            numbered = _drop_empty(numbered, shape, data, job)
            metadata = numbers(numbered, data.metadata, source)
        found[split] = rows.to_examples(numbered, shape, source, split)
    return found["train"], found["test"], metadata


def _load(hub: Hub, split: str) -> Any:
    """One split of a hub data set. Raises UserError when the hub or the data set fails."""
    import httpx
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return load_dataset(hub.name, hub.config, split=split, revision=hub.revision)
    except (DatasetsError, HfHubHTTPError, httpx.HTTPError, OSError, ValueError) as error:
        raise UserError(
            f"the data set {hub.name} (config {hub.config}, split {split}, revision {hub.revision or 'newest'}) "
            f"cannot be loaded ({type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}): "
            "check data.hub, or give local files (data.path=FILE_OR_FOLDER)"
        ) from error


def _check_overlap(job: Job, pool: list[rows.Example], test: list[rows.Example]) -> None:
    """A pool that holds test questions makes every accuracy worthless: say so."""
    asked = {example["prompt"] for example in pool}
    leaked = [example["id"] for example in test if example["prompt"] in asked]
    if leaked:
        job.note(
            f"{len(leaked)} of {len(test)} test prompts also stand in the training rows (first: {leaked[0]})"
        )


def _missing(config: Config) -> list[str]:
    data = config.data
    if isinstance(data, RowsData) and data.path is None:
        if data.hub is None:
            return ["no data: give data.path=FILE_OR_FOLDER (JSONL, JSON, CSV or parquet)"]
        return missing_dataset(data.hub.name)
    return []


def read_pool(entries: Entries) -> list[rows.Example]:
    """All training rows, in file order."""
    return read_jsonl(entries["data"].folder / POOL)


def read_test(entries: Entries) -> list[rows.Example]:
    """The test rows, in file order; empty when there are none."""
    return read_jsonl(entries["data"].folder / TEST)


STAGE = Stage("data", 1, lambda _: (), _settings, _build, _missing)
