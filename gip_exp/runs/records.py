"""The records that runs leave and others read: `result.json`, the run lock's file, what stages report of their outputs.

Whoever writes one and whoever reads it uses the type here; `parse_result` checks a file against it.
"""

from collections.abc import Mapping
from typing import (
    Any,
    NotRequired,  # pydantic reads typing's own only from Python 3.12 on
)

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict


class Metric(TypedDict):
    """A metric with its 95 % interval."""

    value: float
    n: int
    low: float | None
    high: float | None


class StageRecord(TypedDict):
    """A stage's output in a run: its key in the store, what it cost to make, whether this run found it there."""

    key: str
    seconds: float
    cached: bool
    changed_code: NotRequired[list[str]]  # source files for which it was made again
    parts: NotRequired[dict[str, "StageRecord"]]  # of `evaluate`: one for each evaluation


class RunResult(TypedDict):
    """`result.json`. What the run did not come to is null."""

    experiment: str
    model: str
    judge: NotRequired[str | None]
    selector: str
    budget: int | float
    seed: int
    config_key: NotRequired[str]
    n_pool: NotRequired[int | None]
    n_selected: NotRequired[int | None]
    n_unscored: NotRequired[int | None]
    n_target: NotRequired[int | None]
    left_out: NotRequired[dict[str, int]]  # rows of the data that are not in the pool: why -> how many
    metrics: dict[str, Metric]
    contamination: NotRequired[
        dict[str, Any]
    ]  # test questions whose words stand in the pool; metrics without them
    subset: NotRequired[dict[str, float]]
    categories: NotRequired[dict[str, dict[str, dict[str, int]]]]  # column -> text -> rows of pool and subset
    training: NotRequired[dict[str, Any]]
    stages: dict[str, StageRecord]
    status: str  # done, failed or stopped:<stage>
    error: NotRequired[str]


class LockRecord(TypedDict, total=False):
    """Who is at work on a run, or how its last process ended (`run_lock.json`)."""

    host: str
    pid: int
    started: float  # seconds since the epoch, as are the others
    slurm_job: str
    slurm_restarts: str
    stage: str
    ended: float
    error: str
    stopped: str  # the exception that ended it from outside
    slurm_reason: str | None


class DataFacts(TypedDict):
    """What `data` reports: rows of the pool and of the test set."""

    n_rows: int
    n_test: int


class RankFacts(TypedDict):
    """What `rank` reports."""

    n_pool: int
    n_unscored: int
    rank_to: int
    rounds: int


class SelectFacts(TypedDict):
    """What `select` reports; `digest` is of the ordered ids and texts."""

    n_pool: int
    n_selected: int
    digest: str


_RESULT = TypeAdapter(RunResult)


def parse_result(value: Any) -> RunResult:
    """Check what was read from a `result.json`.

    Raises:
        ValueError: every field that is missing or of another kind, with what it holds.
    """
    try:
        return _RESULT.validate_python(value, strict=True)
    except ValidationError as error:
        raise ValueError("; ".join(_told(problem) for problem in error.errors())) from None


def _told(problem: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in problem["loc"] if part not in ("int", "float"))
    if problem["type"] == "missing":
        return f"{key} is missing"
    return f"{key}={repr(problem['input'])[:80]}: {problem['msg'][0].lower()}{problem['msg'][1:]}"
