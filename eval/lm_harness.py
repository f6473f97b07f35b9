"""Runs lm-eval tasks on a model that is handed in, quietly, and keeps the outcome of each question.

lm-eval's own `evaluate` does the work: `simple_evaluate` is the same plus a seeding of the global generators
(decoding here is greedy), an index of thousands of tasks and a report on the machine, which together take
longer than a small evaluation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import wraps
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.results import Prediction, listed

if TYPE_CHECKING:
    from lm_eval.api.model import LM

# lm-eval's own default, so that few-shot prompts are the ones of published numbers.
FEWSHOT_SEED = 1234
# Of lm-eval's warnings, those that say that a number is not what it seems.
TELLING = ("truncat", "null content", "request failed")


# Outcomes of one task by lm-eval filter (the rule that extracts the answer), in the order of the questions.
Outcomes = dict[str, tuple[Prediction, ...]]


@dataclass(frozen=True)
class HarnessRun:
    """All tasks of one call by name, and the warnings that matter."""

    tasks: dict[str, Outcomes]
    warnings: tuple[str, ...]


def shipped_config(*path: str) -> dict[str, Any]:
    """A task definition as lm-eval ships it, `path` below its tasks folder, includes resolved."""
    import lm_eval.tasks
    from lm_eval.tasks._yaml_loader import load_yaml  # the loader that knows lm-eval's `!function` tag

    config = load_yaml(Path(lm_eval.tasks.__file__).parent.joinpath(*path))
    # Tags and groups belong to lm-eval's index, which a task handed over as a dict does not enter.
    for key in ("tag", "group", "include"):
        config.pop(key, None)
    return config


def in_memory(splits: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Config entries that give a task these rows by split, without files, hub or dataset cache."""

    def build(**_: Any) -> dict[str, Any]:
        from datasets import Dataset

        return {split: Dataset.from_list([dict(row) for row in rows]) for split, rows in splits.items()}

    return {"custom_dataset": build, "dataset_path": None, "dataset_name": None, "dataset_kwargs": None}


def run_tasks(model: LM, configs: Sequence[Mapping[str, Any]], *, limit: int | None = None) -> HarnessRun:
    """Run the tasks in one pass, greedily, on one process.

    Each config is an lm-eval task definition with its own `task` name. A question's id is the `id` of its
    row, else its position. Raises ValueError for a model of several processes, one too short for the
    replies asked for or one that drops the start token, and when it replies with nothing at all;
    RuntimeError when requests went unanswered.
    """
    _check_model(model, configs)
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.evaluator import evaluate

    with quiet_lm_eval() as warnings:
        tasks = {}
        for config in configs:
            task = ConfigurableTask(config=dict(config))
            task.set_fewshot_seed(seed=FEWSHOT_SEED)
            tasks[config["task"]] = task
        results = evaluate(
            model, {"tasks": tasks, "groups": {}, "group_map": {}}, limit=limit, bootstrap_iters=0
        )
    assert results is not None  # None is for the other processes of several, refused above
    runs = {name: _collect(name, results["samples"][name]) for name in tasks}
    _check_replies(runs, warnings)
    return HarnessRun(runs, tuple(dict.fromkeys(warnings)))


@contextmanager
def quiet_lm_eval() -> Iterator[list[str]]:
    """Silence lm-eval's log, prints and progress bars; yield a list that fills with the telling warnings.

    Loggers and tqdm are put back on leaving. Both are global: not for two threads at once.
    """
    from tqdm.std import tqdm

    heard: list[str] = []
    logger = logging.getLogger("lm_eval")
    before = logger.level, logger.propagate, logger.handlers[:]
    show = tqdm.__init__
    logger.handlers[:] = [_Listener(heard)]
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    tqdm.__init__ = _never_shown(show)
    try:
        with redirect_stdout(StringIO()):
            yield heard
    finally:
        tqdm.__init__ = show
        logger.level, logger.propagate, logger.handlers[:] = before
        logger.setLevel(before[0])  # also forgets the levels that child loggers cached


class _Listener(logging.Handler):
    def __init__(self, heard: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if any(word in message.lower() for word in TELLING):
            self.heard.append(message)


def _never_shown(init: Callable[..., None]) -> Callable[..., None]:
    @wraps(init)
    def hidden(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **{**kwargs, "disable": True})

    return hidden


def _check_model(model: LM, configs: Sequence[Mapping[str, Any]]) -> None:
    problems = []
    if model.world_size > 1:
        problems.append(
            f"the model runs as {model.world_size} processes; hand in one (for several GPUs: a server)"
        )
    start = _dropped_start_token(model)
    if start is not None:
        problems.append(
            f"the model's requests leave out {start}, which its tokenizer puts in front of every text in "
            "training; create it with add_bos_token=True"
        )
    longest = getattr(model, "max_length", None)
    for config in configs:
        wanted = config.get("generation_kwargs", {}).get("max_gen_toks", 0)
        if longest is not None and wanted >= longest:
            problems.append(
                f"{config['task']}: max_gen_toks is {wanted}, but the model holds {longest} tokens, prompt "
                "included; ask for fewer tokens or give the model a longer context"
            )
    if problems:
        raise ValueError(listed(problems))


def _dropped_start_token(model: Any) -> str | None:
    """The tokenizer's start token if prompts are encoded without it, the default of lm-eval's API models."""
    tokenizer = getattr(model, "tokenizer", None)
    start = getattr(tokenizer, "bos_token_id", None)
    # Prompts sent as text are tokenised by the server, with its own start token.
    if start is None or not callable(tokenizer) or not getattr(model, "tokenized_requests", True):
        return None
    expected, actual = tokenizer("a")["input_ids"], model.tok_encode("a")
    return str(tokenizer.bos_token) if expected[0] == start != actual[0] else None


def _collect(task: str, samples: Sequence[Mapping[str, Any]]) -> Outcomes:
    outcomes: dict[str, list[Prediction]] = {}
    unanswered = []
    for sample in samples:
        reply = sample["resps"][0][0]
        name = str(sample["doc"].get("id", sample["doc_id"]))
        if not isinstance(reply, str):
            unanswered.append(name)
            continue
        prediction = Prediction(name, float(sample["exact_match"]), reply, str(sample["target"]))
        outcomes.setdefault(sample["filter"], []).append(prediction)
    if unanswered:
        raise RuntimeError(f"{task}: the model left questions unanswered: {listed(unanswered)}")
    return {rule: tuple(predictions) for rule, predictions in outcomes.items()}


def _check_replies(runs: Mapping[str, Outcomes], warnings: Sequence[str]) -> None:
    replies = [p.output for run in runs.values() for outcomes in run.values() for p in outcomes]
    if not any(replies):
        raise ValueError(
            f"the model generated nothing for any question of {', '.join(runs)}; "
            "look at the stop strings, max_gen_toks, the adapter and the prompt format"
            + (f" (lm-eval warned: {listed(warnings)})" if warnings else "")
        )
