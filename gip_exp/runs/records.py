"""Types of the records of a run: `result.json`, the run lock's file, the facts of stages.

Writers and readers use the same types; `parse_result` checks a file.
"""

from collections.abc import Mapping
from typing import Any, NotRequired

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic supports typing.TypedDict only from Python 3.12 on


class Metric(TypedDict):
    """A metric with its 95 % interval."""

    value: float
    n: int
    low: float | None
    high: float | None


class FlawDetection(TypedDict):
    """How often a sound row scores above a flawed one (AUC), with its 95 % interval."""

    n_sound: int
    n_flawed: int
    auc: float
    low: float
    high: float


class StageRecord(TypedDict):
    """A stage output of a run: its key in the store, the seconds it took to make, whether it was reused."""

    key: str
    seconds: float
    cached: bool
    changed_code: NotRequired[list[str]]  # source files whose changes made a new output necessary
    parts: NotRequired[dict[str, "StageRecord"]]  # the evaluations, for `evaluate`


class RunResult(TypedDict):
    """`result.json`. Results of stages that did not run are null."""

    experiment: str
    model: str
    judge: NotRequired[str | None]
    selector: str
    budget: int | float
    seed: int
    config_key: NotRequired[str]
    n_pool: NotRequired[int | None]
    budget_unit: NotRequired[str]  # rows or tokens; absent in results of earlier versions, which had rows
    n_selected: NotRequired[int | None]
    n_tokens: NotRequired[int | None]  # of one pass over the selection, with budget_unit=tokens
    mean_words: NotRequired[float | None]  # of a selected row
    n_unscored: NotRequired[int | None]
    n_target: NotRequired[int | None]
    left_out: NotRequired[dict[str, int]]  # rows excluded from the pool, by reason
    test_left_out: NotRequired[dict[str, int]]  # test rows left out, by reason
    metrics: dict[str, Metric]
    # overlap of test questions and pool; metrics without these questions
    contamination: NotRequired[dict[str, Any]]
    base: NotRequired[dict[str, Any]]  # the GGUF file that the model was converted from
    subset: NotRequired[dict[str, float]]
    # of the judge's scores, for `all` flaws and for each, where flaws are known
    flaw_detection: NotRequired[dict[str, FlawDetection]]
    # column -> value -> rows of pool and subset
    categories: NotRequired[dict[str, dict[str, dict[str, int]]]]
    # lengths, mean scores, coverage, topics: of the subset, the pool and random subsets
    measures: NotRequired[dict[str, dict[str, float | None]]]
    training: NotRequired[dict[str, Any]]
    adapter: NotRequired[str | None]  # its folder below paths.root
    stages: dict[str, StageRecord]
    status: str  # done, failed or stopped:<stage>
    error: NotRequired[str]


class LockRecord(TypedDict, total=False):
    """The process working on a run, or how the last one ended (`run_lock.json`)."""

    host: str
    pid: int
    started: float  # seconds since the epoch, as are the others
    slurm_job: str
    slurm_restarts: str
    stage: str
    progress: str  # of the stage: step, time left
    ended: float
    error: str
    stopped: str  # the exception that ended it from outside
    slurm_reason: str | None


class DataFacts(TypedDict):
    """Facts of `data`: training rows and test rows; rows of the user's data before any were left out."""

    n_rows: int
    n_read: NotRequired[int]
    n_test: int


class RankFacts(TypedDict):
    """Facts of `rank`."""

    n_pool: int
    n_unscored: int
    rank_to: int
    subtasks: NotRequired[dict[str, int]]  # of the target -> rows
    rounds: int


class SelectFacts(TypedDict):
    """Facts of `select`; `digest` is of the ordered ids and texts."""

    n_pool: int
    n_selected: int
    n_tokens: NotRequired[int]  # with budget_unit=tokens
    mean_words: float
    digest: str


_RESULT = TypeAdapter(RunResult)


def parse_result(value: Any) -> RunResult:
    """Validate the content of a `result.json`.

    Raises:
        ValueError: lists every field that is missing or of the wrong type.
    """
    try:
        return _RESULT.validate_python(value, strict=True)
    except ValidationError as error:
        raise ValueError("; ".join(_message(problem) for problem in error.errors())) from None


def _message(problem: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in problem["loc"] if part not in ("int", "float"))
    if problem["type"] == "missing":
        return f"{key} is missing"
    return f"{key}={repr(problem['input'])[:80]}: {problem['msg'][0].lower()}{problem['msg'][1:]}"
