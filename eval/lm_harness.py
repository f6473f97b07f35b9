"""Runs lm-eval tasks on a given model, without its output, and keeps the outcome of each question.

lm-eval's `evaluate` does the work. `simple_evaluate` adds seeding of the global generators (decoding here is
greedy), an index of thousands of tasks and a report on the machine, which together take longer than a small
evaluation.
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

# lm-eval's default, so that few-shot prompts are those of published numbers.
FEWSHOT_SEED = 1234
# Parts of lm-eval's warnings that affect the meaning of a number.
TELLING = ("truncat", "null content", "request failed")


# Outcomes of one task by lm-eval filter (the rule that extracts the answer), in the order of the questions.
Outcomes = dict[str, tuple[Prediction, ...]]


@dataclass(frozen=True)
class HarnessRun:
    """All tasks of one call.

    Attributes:
        tasks: outcomes by task name.
        warnings: lm-eval's warnings that affect the numbers, each once.
    """

    tasks: dict[str, Outcomes]
    warnings: tuple[str, ...]


def shipped_config(*path: str) -> dict[str, Any]:
    """Read a task definition as lm-eval ships it, includes resolved.

    Args:
        path: parts of the path below lm-eval's tasks folder.

    Returns:
        The definition, without the keys that belong to lm-eval's index.

    Example:
        >>> shipped_config("gsm8k", "gsm8k.yaml")["output_type"]
        'generate_until'
    """
    import lm_eval.tasks
    from lm_eval.tasks._yaml_loader import load_yaml  # the loader that knows lm-eval's `!function` tag

    config = load_yaml(Path(lm_eval.tasks.__file__).parent.joinpath(*path))
    # Tags and groups belong to lm-eval's index, in which a task passed as a dictionary does not appear.
    for key in ("tag", "group", "include"):
        config.pop(key, None)
    return config


def in_memory(splits: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return entries of a task definition that supply its rows, without files, hub or dataset cache.

    Args:
        splits: rows by split name.

    Returns:
        Entries to merge into a task definition.

    Example:
        >>> entries = in_memory({"test": [{"id": "1", "prompt": "2 + 2"}]})
        >>> entries["custom_dataset"]()["test"]["prompt"][0]
        '2 + 2'
    """

    def build(**_: Any) -> dict[str, Any]:
        from datasets import Dataset

        return {split: Dataset.from_list([dict(row) for row in rows]) for split, rows in splits.items()}

    return {"custom_dataset": build, "dataset_path": None, "dataset_name": None, "dataset_kwargs": None}


def run_tasks(model: LM, configs: Sequence[Mapping[str, Any]], *, limit: int | None = None) -> HarnessRun:
    """Run tasks in one pass, greedily, in one process.

    Args:
        model: an lm-eval `LM`.
        configs: task definitions, each with its own `task` name. The id of a question is the `id` of its
            row, else its position.
        limit: use the first questions of each task only.

    Returns:
        HarnessRun.

    Raises:
        ValueError: the model runs as several processes, has a context too short for the requested replies,
            omits the start token, or generates nothing at all.
        RuntimeError: requests were not answered.

    Example:
        >>> from lm_eval.api.model import LM
        >>> class SaysFour(LM):
        ...     loglikelihood = loglikelihood_rolling = None
        ...     def generate_until(self, requests):
        ...         return ["#### 4"] * len(requests)
        >>> rows = [{"question": "What is 2 + 2?", "answer": "#### 4"}]
        >>> config = shipped_config("gsm8k", "gsm8k.yaml") | {"num_fewshot": 0}
        >>> run = run_tasks(SaysFour(), [config | in_memory({"test": rows, "train": rows})])
        >>> run.tasks["gsm8k"]["strict-match"][0].value
        1.0
    """
    check_model(model, configs)
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
    """Silence lm-eval's log, prints and progress bars.

    Loggers and tqdm are restored on exit. Both are global, so this is not safe in two threads at once.

    Yields:
        A list that fills with the warnings that affect the numbers.

    Example:
        >>> with quiet_lm_eval() as warnings:
        ...     logging.getLogger("lm_eval").warning("prompt truncated")
        >>> warnings
        ['prompt truncated']
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


def check_model(model: LM, configs: Sequence[Mapping[str, Any]]) -> None:
    """Raise ValueError if the model cannot give these tasks' numbers: several processes, no start token, no room.

    Args:
        model: an lm-eval `LM`.
        configs: task definitions, each with its `task` name.

    Raises:
        ValueError: naming every problem.

    Example:
        >>> from lm_eval.api.model import LM
        >>> class Short(LM):
        ...     max_length = 8
        ...     loglikelihood = loglikelihood_rolling = generate_until = None
        >>> check_model(Short(), [{"task": "a", "generation_kwargs": {"max_gen_toks": 9}}])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: a: max_gen_toks is 9, but the model's context is 8 tokens, prompt included; request fewer tokens or ...
    """
    problems = []
    if model.world_size > 1:
        problems.append(
            f"the model runs as {model.world_size} processes; pass one of a single process (for several GPUs, a server)"
        )
    start = _dropped_start_token(model)
    if start is not None:
        problems.append(
            f"the model's requests omit {start}, which its tokenizer puts before every text in "
            "training; create it with add_bos_token=True"
        )
    longest = getattr(model, "max_length", None)
    for config in configs:
        wanted = config.get("generation_kwargs", {}).get("max_gen_toks", 0)
        if longest is not None and wanted >= longest:
            problems.append(
                f"{config['task']}: max_gen_toks is {wanted}, but the model's context is {longest} tokens, prompt "
                "included; request fewer tokens or give the model a longer context"
            )
    if problems:
        raise ValueError(listed(problems))


def _dropped_start_token(model: Any) -> str | None:
    """Return the tokenizer's start token if prompts are encoded without it, the default of lm-eval's API models."""
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
            "check the stop strings, max_gen_toks, the adapter and the prompt format"
            + (f" (lm-eval warned: {listed(warnings)})" if warnings else "")
        )
